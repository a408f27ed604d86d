import { UsageError } from "../errors.ts";

/** A condition on a result under which the command fails, such as `nested-fp8.ppl_ratio>1.01`. */
export type Gate = {
  /** As the user wrote it. */
  readonly expression: string;
  readonly precision: string;
  readonly metric: string;
  readonly operator: Operator;
  readonly bound: number;
};

export type Operator = keyof typeof operators;

export type GateResult = {
  readonly expression: string;
  readonly failed: boolean;
  /** null when the result does not have it. */
  readonly value: number | null;
  /** One sentence with the metric, its value and the bound. */
  readonly message: string;
};

const operators = {
  ">": (value: number, bound: number) => value > bound,
  ">=": (value: number, bound: number) => value >= bound,
  "<": (value: number, bound: number) => value < bound,
  "<=": (value: number, bound: number) => value <= bound,
  "==": (value: number, bound: number) => value === bound,
} as const;

const shape =
  /^\s*(?<precision>[a-z0-9]+(?:-[a-z0-9]+)*)\.(?<metric>[a-z][a-z0-9_]*)\s*(?<operator>>=|<=|==|>|<)\s*(?<bound>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$/;

/** Reads the argument of --fail-if. @throws UsageError that names the expression */
export function parseGate(expression: string): Gate {
  const { precision, metric, operator, bound } = shape.exec(expression)?.groups ?? {};
  // A bound that overflows, such as 1e999, would make a gate that cannot fail.
  const isBound = Number.isFinite(Number(bound));
  if (precision === undefined || metric === undefined || !isOperator(operator) || !isBound) {
    throw new UsageError(`--fail-if ${JSON.stringify(expression)} is not PRECISION.METRIC OPERATOR NUMBER`, {
      hint: "write for example --fail-if 'nested-fp8.ppl_ratio>1.01', with one of > >= < <= ==",
    });
  }
  return { expression, precision, metric, operator, bound: Number(bound) };
}

/**
 * Applies a gate. A precision or metric that the result lacks fails it, as a check that checked nothing must not
 * pass; so does one that is null or not a number.
 */
export function evaluateGate(
  gate: Gate,
  results: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
): GateResult {
  const { expression, precision, metric, operator, bound } = gate;
  const metrics = own(results, precision);
  const value = metrics === undefined ? undefined : own(metrics, metric);
  const fails = (problem: string) => ({ expression, failed: true, value: null, message: problem });
  if (metrics === undefined) {
    return fails(`${precision} was not measured, only ${Object.keys(results).join(", ")}`);
  }
  if (typeof value !== "number" || Number.isNaN(value)) {
    return fails(`${precision} has no ${metric}, only ${numberKeys(metrics).join(", ")}`);
  }
  const failed = operators[operator](value, bound);
  const message = `${precision}.${metric} is ${value}, ${failed ? "" : "not "}${operator} ${bound}`;
  return { expression, failed, value, message };
}

function isOperator(text: string | undefined): text is Operator {
  return text !== undefined && Object.hasOwn(operators, text);
}

/** A member, but nothing inherited: `constructor` is no metric. */
function own<T>(object: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function numberKeys(metrics: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(metrics).filter((key) => typeof metrics[key] === "number");
}

import { toPlain } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";

import type { Architecture } from "./config.ts";
import type { JsonFields } from "./json-fields.ts";

/** How positions turn into angles. The first `rotaryDim` entries of a head are rotated, as two halves. */
export type RopeSpec = { readonly theta: number; readonly rotaryDim: number } & RopeScaling;

export type RopeScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: "longrope";
      /** Divisors of the frequencies for sequences up to `originalMaxPositions`; `rotaryDim / 2` of them. */
      readonly shortFactor: readonly number[];
      /** The same for longer sequences. */
      readonly longFactor: readonly number[];
      readonly originalMaxPositions: number;
      /** Multiplies cos and sin. */
      readonly attentionFactor: number;
    };

/**
 * Reads the rotary embedding: `rope_theta` and `rope_scaling` (transformers 4) or `rope_parameters` (5).
 * @throws FormatError when the scaling is not supported, or its values are missing or contradict each other
 */
export function readRope(
  config: JsonFields,
  architecture: Architecture,
  headDim: number,
  maxPositions: number,
): RopeSpec {
  const rope = ropeObject(config);
  const theta = agreed(config, rope, "rope_theta") ?? 10_000;
  const rotaryDim = readRotaryDim(config, rope, architecture, headDim);
  const scaling = readScaling(config, rope, architecture, { rotaryDim, maxPositions });
  return { theta, rotaryDim, ...scaling };
}

/** The one object that describes the rotation, whichever name and nesting the file uses. */
function ropeObject(config: JsonFields): JsonFields | undefined {
  const scaling = config.object("rope_scaling");
  const parameters = perLayerType(config);
  if (scaling !== undefined && parameters !== undefined) {
    for (const key of scaling.keys()) {
      const [old, now] = [shown(scaling, key), shown(parameters, key === "type" ? "rope_type" : key)];
      if (old !== now) config.fail(`${scaling.name(key)} is ${old}, but ${parameters.name(key)} is ${now}`);
    }
  }
  return parameters ?? scaling;
}

/** transformers 5 may nest the parameters by layer type; only equal ones make one table for all layers. */
function perLayerType(config: JsonFields): JsonFields | undefined {
  const parameters = config.object("rope_parameters");
  const types = parameters?.keys().filter((key) => key.endsWith("_attention")) ?? [];
  const [first, ...others] = types;
  if (parameters === undefined || first === undefined) return parameters;
  for (const other of others) {
    if (shown(parameters, first) !== shown(parameters, other)) {
      config.fail(
        `${parameters.name(first)} and ${parameters.name(other)} differ`,
        "nestedfp supports one rotary embedding for all layers",
      );
    }
  }
  return parameters.object(first);
}

function shown(fields: JsonFields, key: string): string {
  const value = fields.value(key);
  return value === undefined ? "absent" : JSON.stringify(toPlain(value));
}

/** A positive number that may stand at the top, in the rope object, or in both with the same value. */
function agreed(config: JsonFields, rope: JsonFields | undefined, key: string): number | undefined {
  const outer = config.positiveNumber(key);
  const inner = rope?.positiveNumber(key);
  if (outer !== undefined && inner !== undefined && outer !== inner) {
    config.fail(`${quote(key)} is ${outer}, but ${rope?.name(key)} is ${inner}`);
  }
  return inner ?? outer;
}

function readRotaryDim(
  config: JsonFields,
  rope: JsonFields | undefined,
  architecture: Architecture,
  headDim: number,
): number {
  const fraction = agreed(config, rope, "partial_rotary_factor") ?? 1;
  if (fraction > 1) config.fail(`"partial_rotary_factor" ${fraction} exceeds 1`);
  if (fraction !== 1 && architecture !== "phi3") {
    config.fail(`"partial_rotary_factor" is ${fraction}, but a ${architecture} model rotates whole heads`);
  }
  const rotaryDim = Math.trunc(headDim * fraction);
  if (rotaryDim === 0 || rotaryDim % 2 !== 0) {
    config.fail(`the rotated part of a head is ${rotaryDim} of ${headDim} wide, but must be even and not 0`);
  }
  return rotaryDim;
}

type Sizes = { readonly rotaryDim: number; readonly maxPositions: number };

function readScaling(
  config: JsonFields,
  rope: JsonFields | undefined,
  architecture: Architecture,
  sizes: Sizes,
): RopeScaling {
  if (rope === undefined) return { type: "default" };
  const positive = (key: string) => rope.required(key, rope.positiveNumber(key));
  const type = readType(rope, architecture);
  switch (type) {
    case "default":
      return { type };
    case "linear":
      return { type, factor: positive("factor") };
    case "llama3": {
      const lowFreqFactor = positive("low_freq_factor");
      const highFreqFactor = positive("high_freq_factor");
      if (highFreqFactor <= lowFreqFactor) {
        config.fail(
          `${rope.name("high_freq_factor")} ${highFreqFactor} does not exceed ${rope.name("low_freq_factor")} ${lowFreqFactor}`,
        );
      }
      const originalMaxPositions = positive("original_max_position_embeddings");
      return { type, factor: positive("factor"), lowFreqFactor, highFreqFactor, originalMaxPositions };
    }
    case "longrope":
      return readLongrope(config, rope, architecture, sizes);
    default:
      return config.fail(
        `rotary scaling ${quote(type)} is not supported`,
        "nestedfp computes default, linear, llama3 and longrope",
      );
  }
}

/** `type` is the older spelling; and Phi-3's first files call longrope "su" or "yarn", as its class still accepts. */
function readType(rope: JsonFields, architecture: Architecture): string {
  const type = rope.string("rope_type") ?? rope.string("type") ?? "default";
  return architecture === "phi3" && (type === "su" || type === "yarn") ? "longrope" : type;
}

/** The same rule as transformers' _compute_longrope_parameters. */
function readLongrope(
  config: JsonFields,
  rope: JsonFields,
  architecture: Architecture,
  { rotaryDim, maxPositions }: Sizes,
): RopeScaling {
  const factors = (key: string) => {
    const list = rope.required(key, rope.numbers(key));
    if (list.length !== rotaryDim / 2) {
      config.fail(
        `${rope.name(key)} has ${list.length} entries, but half of the rotated width is ${rotaryDim / 2}`,
      );
    }
    for (const factor of list) {
      if (!(factor > 0)) config.fail(`${rope.name(key)} has ${factor}, but must be positive`);
    }
    return list;
  };
  const original =
    agreed(config, rope, "original_max_position_embeddings") ?? (architecture === "phi3" ? 4096 : undefined);
  return {
    type: "longrope",
    shortFactor: factors("short_factor"),
    longFactor: factors("long_factor"),
    originalMaxPositions: original ?? maxPositions,
    attentionFactor:
      rope.positiveNumber("attention_factor") ??
      attentionFactor(original ?? maxPositions, stretch(config, rope, original, maxPositions)),
  };
}

/** How many times longer the model reads than it was trained; transformers 4 and 5 disagree where both are given. */
function stretch(
  config: JsonFields,
  rope: JsonFields,
  original: number | undefined,
  maxPositions: number,
): number {
  const factor = rope.positiveNumber("factor");
  if (original === undefined) return rope.required("factor", factor);
  const ratio = maxPositions / original;
  if (factor !== undefined && factor !== ratio) {
    config.fail(
      `${rope.name("factor")} is ${factor}, but "max_position_embeddings" ${maxPositions} / "original_max_position_embeddings" ${original} is ${ratio}`,
    );
  }
  return ratio;
}

function attentionFactor(original: number, factor: number): number {
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
}

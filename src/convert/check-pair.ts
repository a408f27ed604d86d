import { shiftOutOfRange } from "../codec/codec.ts";
import { FormatError } from "../errors.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import { planeNames } from "./layout.ts";
import { crcText } from "./manifest.ts";
import type { Pair } from "./pair.ts";
import { endsRow } from "./pieces.ts";
import type { RebuiltPiece } from "./rebuild.ts";
import { rebuildSource } from "./rebuild.ts";
import type { RunContext } from "./run-context.ts";

/** One defect of a converted directory. */
export type Problem = {
  /** Path relative to the directory. */
  readonly file: string;
  readonly tensor?: string;
  /** First byte and one past the last in `file`. */
  readonly range?: readonly [number, number];
  readonly kind: ProblemKind;
  readonly message: string;
};

export type ProblemKind =
  | "missing"
  | "unexpected"
  | "size"
  | "sha256"
  | "header"
  | "index"
  | "config"
  | "manifest"
  | "sums"
  | "non_canonical"
  | "scale"
  | "rebuild"
  | "source";

export type ExpectedSource = {
  /** Names shown in problems. */
  readonly upperFile: string;
  readonly lowerFile: string;
  readonly sourceFile: string;
  readonly sha256: string;
  /** CRC-32 of a source tensor's bytes as text; undefined for one that was split with loss. */
  readonly crcOf: (name: string) => string | undefined;
  /** Also check that planes are canonical and row shifts minimal. */
  readonly deep: boolean;
};

/** Rebuilds every source word of a pair of files and compares with what the source was. */
export async function checkPair(
  pair: Pair,
  expected: ExpectedSource,
  context: RunContext,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  const whole = context.codec.sha256();
  await whole.update(pair.sourceHeader);
  let tensor: TensorCheck | undefined;
  let lossless = true;
  const finish = (): void => {
    if (tensor === undefined) return;
    problems.push(...tensor.problems());
    lossless &&= expected.crcOf(tensor.info.name) !== undefined;
  };
  try {
    for await (const rebuilt of rebuildSource(pair, context)) {
      if (tensor?.info !== rebuilt.piece.tensor) {
        finish();
        tensor = new TensorCheck(rebuilt.piece.tensor, pair, expected, context);
      }
      await Promise.all([whole.update(rebuilt.bytes), tensor.add(rebuilt)]);
      context.onBytes(rebuilt.bytes.length);
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return [...problems, { file: expected.lowerFile, kind: "rebuild", message: error.message }];
  }
  finish();
  const sha256 = await whole.digest();
  if (lossless && sha256 !== expected.sha256 && problems.length === 0) {
    problems.push({
      file: expected.lowerFile,
      kind: "rebuild",
      message: `${expected.sourceFile} rebuilt has sha256 ${sha256}, not ${expected.sha256}`,
    });
  }
  return problems;
}

/** Follows one tensor through its rebuilt pieces. */
class TensorCheck {
  readonly info: TensorInfo;
  readonly #pair: Pair;
  readonly #expected: ExpectedSource;
  readonly #context: RunContext;
  #crc32 = 0;
  #nonCanonical = 0;
  #wrongShift: string | undefined;
  /** Largest shift needed by the parts seen of a long row. */
  #rowShift = 0;

  constructor(info: TensorInfo, pair: Pair, expected: ExpectedSource, context: RunContext) {
    this.info = info;
    this.#pair = pair;
    this.#expected = expected;
    this.#context = context;
  }

  async add(rebuilt: RebuiltPiece): Promise<void> {
    const { codec } = this.#context;
    const deep = this.#expected.deep && rebuilt.split ? rebuilt.split : undefined;
    const needed = new Uint8Array(rebuilt.piece.rows);
    const [crc32, nonCanonical] = await Promise.all([
      codec.crc32(rebuilt.bytes, this.#crc32),
      deep ? codec.countNonCanonical(deep.upper, deep.lower) : 0,
      deep ? codec.scanRows(rebuilt.bytes, deep.dtype, rebuilt.piece.cols, needed) : undefined,
    ]);
    this.#crc32 = crc32;
    this.#nonCanonical += nonCanonical;
    if (deep) this.#compareShifts(rebuilt, deep.shifts, needed);
  }

  #compareShifts(rebuilt: RebuiltPiece, stored: Uint8Array, needed: Uint8Array): void {
    const { piece } = rebuilt;
    if (piece.rows === 1) {
      this.#rowShift = Math.max(piece.column === 0 ? 0 : this.#rowShift, needed[0] ?? 0);
      if (!endsRow(piece)) return;
      needed[0] = this.#rowShift;
    }
    const row = stored.findIndex((shift, i) => shift !== needed[i]);
    if (row === -1) return;
    const least = needed[row] === shiftOutOfRange ? "none" : needed[row];
    this.#wrongShift ??= `row ${piece.firstRow + row} has shift ${stored[row]}, the least for its values is ${least}`;
  }

  problems(): Problem[] {
    const { name } = this.info;
    const range = this.#rangeIn("upper");
    const problems: Problem[] = [];
    const crc = this.#expected.crcOf(name);
    if (this.#nonCanonical > 0) {
      const message = `${this.#nonCanonical} pairs of upper and lower bytes are not canonical`;
      problems.push({
        file: this.#expected.upperFile,
        tensor: name,
        ...range,
        kind: "non_canonical",
        message,
      });
    }
    if (this.#wrongShift !== undefined) {
      problems.push({
        file: this.#expected.upperFile,
        tensor: name,
        ...range,
        kind: "scale",
        message: this.#wrongShift,
      });
    }
    if (crc !== undefined && crc !== crcText(this.#crc32)) {
      const message = `the rebuilt source words have CRC-32 ${crcText(this.#crc32)}, not ${crc}`;
      const plane = this.#pair.lower.header.byName.has(planeNames(name).lower) ? "lower" : "upper";
      const file = plane === "lower" ? this.#expected.lowerFile : this.#expected.upperFile;
      problems.push({ file, tensor: name, ...this.#rangeIn(plane), kind: "rebuild", message });
    }
    return problems;
  }

  #rangeIn(plane: "upper" | "lower"): { readonly range?: readonly [number, number] } {
    const shard = this.#pair[plane];
    const info = shard.header.byName.get(planeNames(this.info.name)[plane]);
    if (info === undefined) return {};
    const [begin, end] = info.dataOffsets;
    return { range: [shard.header.headerBytes + begin, shard.header.headerBytes + end] };
  }
}

import { FormatError } from "../errors.ts";
import { compareUtf8 } from "./compare-utf8.ts";
import { type Dtype, dtypeRank, dtypes, isDtype, tensorBytes } from "./dtype.ts";
import { uint64 } from "./json.ts";
import { JsonScanner } from "./json-scanner.ts";
import { quote } from "./quote.ts";

export { compareUtf8 } from "./compare-utf8.ts";
export { tensorBytes, tensorWords } from "./dtype.ts";

export type TensorInfo = {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte and one past the last, counted from where the data starts (`headerBytes`). */
  readonly dataOffsets: readonly [number, number];
};

export type SafetensorsHeader = {
  /** `__metadata__`; undefined when the header has none. */
  readonly metadata: ReadonlyMap<string, string> | undefined;
  /** By data offsets, then in the order of the header (several empty tensors may share an offset). */
  readonly tensors: readonly TensorInfo[];
  readonly byName: ReadonlyMap<string, TensorInfo>;
  /** 8 + N: where the data starts in the file. */
  readonly headerBytes: number;
};

/** A header to write and the place of each tensor in it. A header read from a file does as well. */
export type HeaderLayout = { readonly bytes: Uint8Array; readonly tensors: readonly TensorInfo[] };

const metadataKey = "__metadata__";
const damaged = "the file is damaged or was not written by a safetensors library: download it again";

/**
 * Parses and validates the JSON of a safetensors header (FORMAT.md §9); what it returns can be trusted.
 * @param json the N bytes of the header, padding included
 * @param dataBytes bytes that follow the header in the file
 * @param file its name, for errors
 * @throws FormatError that names the file, the tensor and both values
 */
export function parseHeader(json: Uint8Array, dataBytes: number, file: string): SafetensorsHeader {
  const scanner = new JsonScanner(json, file, "of the header");
  const byName = new Map<string, TensorInfo>();
  const metadata = new Map<string, string>();
  let hasMetadata = false;
  // The format demands `{` as the very first byte, without white space before it.
  if (json[0] !== 0x7b) throw scanner.fail('expected "{"', 0);
  scanner.object((name) => {
    if (name === metadataKey) {
      hasMetadata = true;
      readMetadata(scanner, file, metadata);
    } else {
      byName.set(name, readTensor(scanner, file, name));
    }
  });
  scanner.end();
  const tensors = [...byName.values()].sort(
    (a, b) => a.dataOffsets[0] - b.dataOffsets[0] || a.dataOffsets[1] - b.dataOffsets[1],
  );
  checkTiling(tensors, dataBytes, file);
  return { metadata: hasMetadata ? metadata : undefined, tensors, byName, headerBytes: 8 + json.length };
}

function readMetadata(scanner: JsonScanner, file: string, into: Map<string, string>): void {
  const refuse = (problem: string) => new FormatError(`${quote(file)}: ${problem}`, { hint: damaged });
  if (scanner.kind() !== "object") throw refuse(`__metadata__ is ${scanner.kind()}, not an object`);
  scanner.object((key) => {
    if (scanner.kind() !== "string") {
      throw refuse(`__metadata__ key ${quote(key)} is ${scanner.kind()}, not a string`);
    }
    into.set(key, scanner.string());
  });
}

function readTensor(scanner: JsonScanner, file: string, name: string): TensorInfo {
  const refuse = (problem: string, hint = damaged) =>
    new FormatError(`${quote(file)}: tensor ${quote(name)} ${problem}`, { hint });
  if (scanner.kind() !== "object") throw refuse(`is ${scanner.kind()}, not an object`);
  const fields: { dtype?: Dtype; shape?: number[]; data_offsets?: number[] } = {};
  scanner.object((field) => {
    if (field === "dtype") fields.dtype = readDtype(scanner, refuse);
    else if (field === "shape" || field === "data_offsets") fields[field] = readSizes(scanner, field, refuse);
    else throw refuse(`has the unknown field ${quote(field)} beside dtype, shape and data_offsets`);
  });
  const { dtype, shape, data_offsets: offsets } = fields;
  if (dtype === undefined) throw refuse("has no dtype");
  if (shape === undefined) throw refuse("has no shape");
  if (offsets === undefined) throw refuse("has no data_offsets");
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2) {
    throw refuse(`has ${offsets.length} data_offsets, not 2`);
  }
  if (begin > end) throw refuse(`has data_offsets [${begin}, ${end}] that end before they begin`);
  const bytes = tensorBytes(dtype, shape);
  if (bytes !== end - begin) {
    throw refuse(
      `has data_offsets [${begin}, ${end}], ${end - begin} bytes, but ${describeNeed(dtype, shape, bytes)}`,
    );
  }
  return { name, dtype, shape, dataOffsets: [begin, end] };
}

type Refuse = (problem: string, hint?: string) => FormatError;

function readDtype(scanner: JsonScanner, refuse: Refuse): Dtype {
  if (scanner.kind() !== "string") throw refuse(`has a dtype that is ${scanner.kind()}, not a string`);
  const dtype = scanner.string();
  if (!isDtype(dtype)) {
    throw refuse(`has the unknown dtype ${quote(dtype)}`, `the known dtypes are ${dtypes.join(", ")}`);
  }
  return dtype;
}

function readSizes(scanner: JsonScanner, field: string, refuse: Refuse): number[] {
  if (scanner.kind() !== "array") throw refuse(`has a ${field} that is ${scanner.kind()}, not an array`);
  const sizes: number[] = [];
  scanner.array(() => {
    if (scanner.kind() !== "number") throw refuse(`has ${scanner.kind()} in its ${field}, not a number`);
    const literal = scanner.number();
    if (/^(?:0|[1-9][0-9]{0,14})$/.test(literal)) {
      sizes.push(Number(literal));
      return;
    }
    const value = uint64(literal);
    if (value === undefined) {
      const shown = literal.length > 40 ? `${literal.slice(0, 40)}...` : literal;
      throw refuse(`has ${shown} in its ${field}, not an integer from 0 to 2^64 - 1`);
    }
    if (value > Number.MAX_SAFE_INTEGER) {
      throw refuse(`has ${literal} in its ${field}, above the supported 2^53 - 1`);
    }
    sizes.push(Number(value));
  });
  return sizes;
}

function describeNeed(dtype: Dtype, shape: readonly number[], bytes: number): string {
  const shown = shape.length > 16 ? `${shape.slice(0, 16).join(", ")}, ...` : shape.join(", ");
  const what = `dtype ${dtype} and shape [${shown}]`;
  if (Number.isNaN(bytes)) return `${what} do not fill whole bytes`;
  return bytes === Infinity ? `${what} need more than 2^53 - 1` : `${what} need ${bytes}`;
}

/** The tensors must tile the data exactly: no hole, no overlap, nothing after the last. */
function checkTiling(tensors: readonly TensorInfo[], dataBytes: number, file: string): void {
  let end = 0;
  let previous: TensorInfo | undefined;
  for (const tensor of tensors) {
    const begin = tensor.dataOffsets[0];
    if (begin !== end) {
      const place = previous === undefined ? "the data starts" : `tensor ${quote(previous.name)} ends`;
      const problem = begin < end ? "overlap" : "hole";
      throw new FormatError(
        `${quote(file)}: tensor ${quote(tensor.name)} starts at ${begin}, but ${place} at ${end} (${problem})`,
        { hint: damaged },
      );
    }
    end = tensor.dataOffsets[1];
    previous = tensor;
  }
  if (end === dataBytes) return;
  throw new FormatError(
    `${quote(file)}: the tensors take ${end} bytes of data, but the file holds ${dataBytes} after its header`,
    { hint: end > dataBytes ? "the file is truncated: download it again" : damaged },
  );
}

/** Model hubs read headers of less than 25 MB only. */
const maxWrittenHeader = 25_000_000;

const unwritable = "no safetensors file can hold this: rename or leave out the tensor in the source";

/**
 * Lays tensors out as FORMAT.md §4 says: dtype descending, then name in UTF-8 order, one after the other, data
 * from a multiple of `align` bytes. The same tensors and metadata give the same bytes in any input order.
 * @param metadata keys are written sorted; no `__metadata__` at all when empty
 * @throws FormatError for a header of 25 MB or more, a name that is used twice, reserved or no valid Unicode, and
 * a size that is no whole number of bytes
 */
export function serializeHeader(
  tensors: readonly Pick<TensorInfo, "name" | "dtype" | "shape">[],
  metadata: ReadonlyMap<string, string>,
  align = 4096,
): { readonly bytes: Uint8Array; readonly tensors: TensorInfo[] } {
  const placed: TensorInfo[] = [];
  const names = new Set<string>([metadataKey]);
  let end = 0;
  for (const { name, dtype, shape } of tensors.toSorted(byStorageOrder)) {
    if (names.has(name)) {
      const problem = name === metadataKey ? "reserved" : "used twice";
      throw new FormatError(`tensor name ${quote(name)} is ${problem}`, { hint: unwritable });
    }
    names.add(name);
    const begin = end;
    end += tensorBytes(dtype, shape);
    if (!Number.isSafeInteger(end)) {
      const need = describeNeed(dtype, shape, tensorBytes(dtype, shape));
      throw new FormatError(`tensor ${quote(name)} cannot be written: ${need} after ${begin} bytes`, {
        hint: unwritable,
      });
    }
    placed.push({ name, dtype, shape, dataOffsets: [begin, end] });
  }
  return { bytes: frame(headerJson(placed, metadata), align), tensors: placed };
}

function byStorageOrder(
  a: Pick<TensorInfo, "name" | "dtype">,
  b: Pick<TensorInfo, "name" | "dtype">,
): number {
  return dtypeRank(b.dtype) - dtypeRank(a.dtype) || compareUtf8(a.name, b.name);
}

function headerJson(tensors: readonly TensorInfo[], metadata: ReadonlyMap<string, string>): string {
  const members = tensors.map(
    ({ name, dtype, shape, dataOffsets }) =>
      `${jsonString(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${dataOffsets}]}`,
  );
  if (metadata.size > 0) {
    const sorted = [...metadata].sort(([a], [b]) => compareUtf8(a, b));
    const entries = sorted.map(([key, value]) => `${jsonString(key)}:${jsonString(value)}`);
    members.unshift(`"${metadataKey}":{${entries.join(",")}}`);
  }
  return `{${members.join(",")}}`;
}

function jsonString(text: string): string {
  if (/\p{Surrogate}/u.test(text)) {
    throw new FormatError(`${quote(text)} holds a lone surrogate, which is no Unicode text`, {
      hint: unwritable,
    });
  }
  return JSON.stringify(text);
}

/** The 8-byte length, the JSON, and spaces up to the next multiple of `align`. */
function frame(json: string, align: number): Uint8Array {
  const length = Buffer.byteLength(json);
  const total = Math.ceil((8 + length) / align) * align;
  if (total >= maxWrittenHeader) {
    throw new FormatError(`the header takes ${total} bytes, but must stay below ${maxWrittenHeader}`, {
      hint: "the shard has too many tensors: split it into smaller shards",
    });
  }
  const bytes = Buffer.alloc(total, 0x20);
  bytes.writeBigUInt64LE(BigInt(total - 8));
  bytes.write(json, 8);
  return bytes;
}

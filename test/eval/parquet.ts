/**
 * A Parquet file of one required column of strings: one row group, one page, plain encoding, not compressed.
 * Written from the format's description, as its reader must not test itself.
 */
export function parquetOf(column: string, rows: readonly string[]): Uint8Array {
  const values = Buffer.concat(rows.flatMap((row) => [uint32(Buffer.byteLength(row)), Buffer.from(row)]));
  const dataHeader = struct([
    [1, i32(rows.length)],
    [2, i32(0)],
    [3, i32(3)],
    [4, i32(3)],
  ]);
  const page = struct([
    [1, i32(0)],
    [2, i32(values.length)],
    [3, i32(values.length)],
    [5, dataHeader],
  ]);
  const chunk = Buffer.concat([page.bytes, values]);
  const metadata = struct([
    [1, i32(6)],
    [2, list([i32(0)])],
    [3, list([text(column)])],
    [4, i32(0)],
    [5, i64(rows.length)],
    [6, i64(chunk.length)],
    [7, i64(chunk.length)],
    [9, i64(4)],
  ]);
  const root = struct([
    [4, text("schema")],
    [5, i32(1)],
  ]);
  const leaf = struct([
    [1, i32(6)],
    [3, i32(0)],
    [4, text(column)],
    [6, i32(0)],
  ]);
  const group = struct([
    [
      1,
      list([
        struct([
          [2, i64(4)],
          [3, metadata],
        ]),
      ]),
    ],
    [2, i64(chunk.length)],
    [3, i64(rows.length)],
  ]);
  const footer = struct([
    [1, i32(1)],
    [2, list([root, leaf])],
    [3, i64(rows.length)],
    [4, list([group])],
  ]).bytes;
  return Buffer.concat([Buffer.from("PAR1"), chunk, footer, uint32(footer.length), Buffer.from("PAR1")]);
}

/** A value of Thrift's compact protocol, and the number of its type. */
type Value = { readonly type: number; readonly bytes: Buffer };

const i32 = (value: number): Value => ({ type: 5, bytes: varint(2 * value) });
const i64 = (value: number): Value => ({ type: 6, bytes: varint(2 * value) });
const text = (value: string): Value => ({
  type: 8,
  bytes: Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)]),
});

function list(items: readonly Value[]): Value {
  const head = Buffer.of((items.length << 4) | (items[0]?.type ?? 0));
  return { type: 9, bytes: Buffer.concat([head, ...items.map(({ bytes }) => bytes)]) };
}

function struct(fields: readonly (readonly [id: number, value: Value])[]): Value {
  let last = 0;
  const parts = fields.map(([id, { type, bytes }]) => {
    const head = Buffer.of(((id - last) << 4) | type);
    last = id;
    return Buffer.concat([head, bytes]);
  });
  return { type: 12, bytes: Buffer.concat([...parts, Buffer.of(0)]) };
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

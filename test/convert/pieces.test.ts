import assert from "node:assert/strict";
import { test } from "node:test";
import { endsRow, oneAhead, piecesOf } from "../../src/convert/pieces.ts";
import { dtypeBits, dtypes, tensorBytes } from "../../src/safetensors/dtype.ts";
import type { TensorInfo } from "../../src/safetensors/header.ts";
import { Prng } from "../safetensors/prng.ts";

test("pieces tile any tensor, fit into a block, and hold whole rows or parts of one", () => {
  const prng = new Prng(4);
  for (let round = 0; round < 2000; round++) {
    const dtype = prng.pick(dtypes);
    const shape = Array.from({ length: prng.below(4) }, () => prng.below(40));
    // F4 and F6 words must fill whole bytes.
    if (dtypeBits[dtype] % 8 !== 0) shape.push(4 * prng.below(10));
    const bytes = tensorBytes(dtype, shape);
    const info: TensorInfo = { name: "t", dtype, shape, dataOffsets: [100, 100 + bytes] };
    const blockBytes = 8 + prng.below(300);
    const what = `${dtype} [${shape}] in blocks of ${blockBytes}`;
    const isMatrix = shape.length === 2 && dtypeBits[dtype] % 8 === 0;
    let offset = 0;
    for (const piece of piecesOf(info, blockBytes)) {
      assert.equal(piece.offset, offset, what);
      assert.ok(piece.byteLength > 0 && piece.byteLength <= blockBytes, what);
      const wordBytes = Math.max(1, dtypeBits[dtype] >> 3);
      assert.equal(piece.rows * piece.cols * wordBytes, piece.byteLength, what);
      if (isMatrix) {
        const columns = shape[1] ?? 0;
        assert.equal((piece.firstRow * columns + piece.column) * wordBytes, offset, what);
        assert.ok(piece.cols === columns || piece.rows === 1, what);
        assert.equal(endsRow(piece), piece.column + piece.cols === columns, what);
      }
      offset += piece.byteLength;
    }
    assert.equal(offset, bytes, what);
  }
});

test("one item is prepared ahead, in the other slot, and failures come out in order", async () => {
  const log: string[] = [];
  const prepare = async (item: number, slot: 0 | 1): Promise<number> => {
    log.push(`prepare ${item} in ${slot}`);
    if (item === 3) throw new Error("third");
    return item;
  };
  const run = async (): Promise<void> => {
    for await (const item of oneAhead([1, 2, 3, 4], prepare, new AbortController().signal))
      log.push(`use ${item}`);
  };
  await assert.rejects(run, /^Error: third$/);
  assert.deepEqual(log, ["prepare 1 in 0", "prepare 2 in 1", "use 1", "prepare 3 in 0", "use 2"]);
});

test("a consumer that stops early leaves nothing behind that still runs", async () => {
  let running = 0;
  const prepare = async (item: number): Promise<number> => {
    running++;
    await new Promise(setImmediate);
    running--;
    return item;
  };
  for await (const item of oneAhead([1, 2, 3], prepare, new AbortController().signal)) {
    if (item === 1) break;
  }
  assert.equal(running, 0);
});

test("an abort ends the iteration with its reason", async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  const run = async (): Promise<void> => {
    for await (const item of oneAhead([1, 2, 3, 4], async (n) => n, controller.signal)) {
      seen.push(item);
      controller.abort(new Error("enough"));
    }
  };
  await assert.rejects(run, /^Error: enough$/);
  assert.deepEqual(seen, [1]);
});

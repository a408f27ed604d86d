import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { halfToNumber } from "../../src/codec/reference.ts";
import type { Precision } from "../../src/device/device.ts";
import { loadTokenizer } from "../../src/model/tokenizer.ts";
import { openShard } from "../../src/safetensors/reader.ts";
import { frame } from "../safetensors/scratch.ts";
import { convertForTest, runModel, wholeWindows } from "./run-model.ts";
import type { SlowLlama } from "./slow-decoder.ts";
import { slowNll } from "./slow-decoder.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/", import.meta.url));
const tiny = join(fixtures, "tiny-llama");
const text = readFileSync(join(fixtures, "text/overlay.txt"), "utf8");

/** The first ids of the sample text. */
async function sampleIds(count: number): Promise<number[]> {
  return [...(await loadTokenizer(tiny)).encode(text)].slice(0, count);
}

/** fixtures/tiny-llama for the oracle; `view` says what becomes of the values of a projection. */
async function slowTiny(view: (value: number) => number): Promise<SlowLlama> {
  const shard = await openShard(join(tiny, "model.safetensors"));
  const tensors = new Map<string, Float64Array>();
  for (const info of shard.header.tensors) {
    const bytes = Buffer.alloc(info.dataOffsets[1] - info.dataOffsets[0]);
    await shard.readTensor(info, 0, bytes);
    const of = info.name.includes("_proj.") ? view : (value: number) => value;
    const values = Float64Array.from({ length: bytes.length / 2 }, (_, i) =>
      of(halfToNumber(bytes.readUInt16LE(2 * i))),
    );
    tensors.set(info.name, values);
  }
  await shard.close();
  return {
    layers: 4,
    heads: 6,
    kvHeads: 2,
    headDim: 32,
    eps: 1e-5,
    theta: 10000,
    tensor: (name) => tensors.get(name) ?? assert.fail(name),
  };
}

/** Nearest E4M3 value, by its definition: 4 bits of significand, the last half of the exponent range subnormal. */
function e4m3(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.max(-6, Math.floor(Math.log2(Math.abs(value))));
  const step = 2 ** (exponent - 3);
  const quotient = Math.abs(value) / step;
  const floor = Math.floor(quotient);
  const tie = quotient - floor === 0.5;
  const rounded = tie ? floor + (floor % 2) : Math.round(quotient);
  return Math.sign(value) * Math.min(448, rounded * step);
}

function assertClose(
  actual: readonly number[] | undefined,
  expected: readonly number[],
  tolerance: number,
): void {
  assert.equal(actual?.length, expected.length);
  for (const [t, value] of expected.entries()) {
    const got = actual?.[t] ?? Number.NaN;
    assert.ok(Math.abs(got - value) <= tolerance, `token ${t}: ${got}, oracle ${value}`);
  }
}

test("fp16 and nested-fp8 weights of the tiny model agree with a decoder in double precision", async (t) => {
  const ids = await sampleIds(40);
  const converted = await convertForTest(t, tiny);
  const result = await runModel(t, converted, wholeWindows([ids]), {
    precisions: ["fp16", "nested-fp8"],
    activations: "fp16",
  });
  assertClose(result.precisions.fp16?.nll?.[0], slowNll(await slowTiny((value) => value), ids), 2e-4);
  const fp8 = slowNll(await slowTiny((value) => e4m3(256 * value) / 256), ids);
  assertClose(result.precisions["nested-fp8"]?.nll?.[0], fp8, 2e-4);
});

test("a converted directory gives the fp16 of its source, bit for bit", async (t) => {
  const windows = wholeWindows([await sampleIds(64)]);
  const source = await runModel(t, tiny, windows, { precisions: ["fp16", "fp8"] });
  const converted = await runModel(t, await convertForTest(t, tiny), windows, {
    precisions: ["fp16", "fp8"],
  });
  assert.deepEqual(converted.precisions, source.precisions);
});

test("neither threads nor streaming nor the company of other windows changes a bit", async (t) => {
  const ids = await sampleIds(200);
  // Not shorter: a product of few rows sums in another order (src/device), in every precision alike.
  const windows = wholeWindows([ids.slice(0, 50), ids.slice(50, 90), ids.slice(90, 200)]);
  const converted = await convertForTest(t, tiny);
  const precisions = ["fp16", "nested-fp16", "nested-fp8", "fp8"] as const;
  const expected = await runModel(t, converted, windows, { precisions, threads: 1 });
  // Enough for two layers at a time, not for all four: the refusal says how much, in whole MiB.
  const refusal = await runModel(t, converted, windows, { precisions, maxMemory: 1 }).catch(String);
  let least = (Number(/needs (\d+) MiB/.exec(String(refusal))?.[1]) - 1) * 2 ** 20;
  const isRefused = (maxMemory: number): Promise<boolean> =>
    runModel(t, converted, windows, { precisions, maxMemory }).then(
      () => false,
      () => true,
    );
  while (await isRefused(least)) least += 2 ** 16;
  for (const options of [{ threads: 3 }, { maxMemory: least, mustStream: true }]) {
    assert.deepEqual(await runModel(t, converted, windows, { precisions, ...options }), expected);
  }
  const alone = await runModel(t, converted, windows.slice(1, 2), { precisions });
  for (const precision of precisions) {
    assert.deepEqual(
      alone.precisions[precision]?.nll?.[0],
      expected.precisions[precision]?.nll?.[1],
      precision,
    );
  }
});

test("too little memory is refused with what is needed", async (t) => {
  const windows = wholeWindows([await sampleIds(8)]);
  const refused = (maxMemory: number, isAsked: boolean, expected: object) =>
    assert.rejects(runModel(t, tiny, windows, { precisions: ["fp16"], maxMemory, isAsked }), expected);
  for (const [bytes, given] of [
    [1, "1 bytes"],
    [3.5 * 2 ** 20, "3 MiB"],
  ] as const) {
    await refused(bytes, true, {
      exitCode: 2,
      message: new RegExp(`^--max-memory is ${given}, .* this model needs \\d+ MiB$`),
      hint: /^give --max-memory \d+M or more/,
    });
  }
  // Nobody who gave no --max-memory is told that it was wrong.
  await refused(3.5 * 2 ** 20, false, {
    exitCode: 3,
    message: /^this machine has 3 MiB of memory to spare, and this model needs \d+ MiB$/,
  });
});

test("copies that BF16 and F32 weights need are counted, and F16 weights of a source need none", async (t) => {
  const windows = wholeWindows([await sampleIds(8)]);
  const needed = async (model: string, precisions: readonly Precision[]): Promise<number> => {
    const refusal = await runModel(t, model, windows, { precisions, maxMemory: 1 }).catch(String);
    return Number(/needs (\d+) MiB/.exec(String(refusal))?.[1]);
  };
  const copy = mkdtempSync(join(tmpdir(), "nestedfp-bf16-"));
  t.after(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(tiny, copy, { recursive: true });
  const path = join(copy, "model.safetensors");
  // The same bytes under another name: what they are worth does not matter here.
  const bytes = readFileSync(path);
  const dataFrom = 8 + bytes.readUInt32LE();
  const header = bytes.toString("utf8", 8, dataFrom).replaceAll('"F16"', '"BF16"');
  writeFileSync(path, frame(header, bytes.subarray(dataFrom)));
  // The projections of a layer are 0.75 MiB of 16-bit words, and the copies of two layers are counted.
  assert.ok((await needed(copy, ["fp16"])) > (await needed(tiny, ["fp16"])));
  const converted = await convertForTest(t, tiny);
  assert.ok((await needed(converted, ["fp16"])) > (await needed(converted, ["nested-fp16"])));
});

test("a precision that the model does not have is refused", async (t) => {
  const windows = wholeWindows([await sampleIds(8)]);
  await assert.rejects(runModel(t, tiny, windows, { precisions: ["nested-fp8"] }), { exitCode: 2 });
});

test("weights with a NaN end in a clear error", async (t) => {
  const copy = mkdtempSync(join(tmpdir(), "nestedfp-nan-"));
  t.after(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(tiny, copy, { recursive: true });
  const path = join(copy, "model.safetensors");
  const shard = await openShard(path);
  const info = shard.header.byName.get("model.layers.1.self_attn.o_proj.weight") ?? assert.fail();
  await shard.close();
  const bytes = readFileSync(path);
  bytes.writeUInt16LE(0x7e00, shard.header.headerBytes + info.dataOffsets[0]);
  writeFileSync(path, bytes);
  const windows = wholeWindows([await sampleIds(8)]);
  await assert.rejects(runModel(t, copy, windows, { precisions: ["fp16"] }), {
    exitCode: 4,
    message: /fp16 in window 0.* not finite/,
  });
});

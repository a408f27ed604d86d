import assert from "node:assert/strict";
import { test } from "node:test";

import {
  type LayoutOptions,
  layoutWindows,
  type Method,
  methods,
  sequenceWindows,
} from "../../src/eval/windows.ts";
import { Prng } from "../safetensors/prng.ts";

const count = (n: number) => Int32Array.from({ length: n }, (_, i) => i + 100);
const noBos = { modelMax: 4096, addsBos: false };

/** Each window as its ids (less 100) with a bar before the first scored id and one after the last. */
function draw(n: number, method: Method, options: Partial<LayoutOptions>): string[] {
  const { windows } = layoutWindows(count(n), method, { ...noBos, ...options });
  return windows.map(({ ids, scoreFrom, scoreTo }) => {
    const shown = Array.from(ids, (id) => String(id - 100));
    const parts = [shown.slice(0, scoreFrom), shown.slice(scoreFrom, scoreTo), shown.slice(scoreTo)];
    return parts.map((part) => part.join(" ")).join("|");
  });
}

for (const [name, n, method, options, expected] of [
  ["plain, the last shorter", 10, "plain", { ctx: 4 }, ["0|1 2 3|", "4|5 6 7|", "8|9|"]],
  ["plain, a last single id dropped", 9, "plain", { ctx: 4 }, ["0|1 2 3|", "4|5 6 7|"]],
  ["plain, all in one", 3, "plain", {}, ["0|1 2|"]],
  [
    "plain keeps the ids of BOS as they are",
    4,
    "plain",
    { ctx: 2, addsBos: true, bosId: 107 },
    ["0|1|", "2|3|"],
  ],
  ["gptq, the tail dropped", 11, "gptq", { ctx: 4 }, ["0|1 2 3|", "4|5 6 7|"]],
  ["llama.cpp, second halves", 20, "llama.cpp", { ctx: 8 }, ["0 1 2 3 4|5 6 7|", "8 9 10 11 12|13 14 15|"]],
  ["llama.cpp, an odd width", 7, "llama.cpp", { ctx: 7 }, ["0 1 2 3|4 5 6|"]],
  [
    "llama.cpp, BOS in place of first ids",
    8,
    "llama.cpp",
    { ctx: 4, addsBos: true, bosId: 99 },
    ["-1 1 2|3|", "-1 5 6|7|"],
  ],
  ["llama.cpp, a tokenizer that adds no BOS", 4, "llama.cpp", { ctx: 4, bosId: 99 }, ["0 1 2|3|"]],
  [
    "hf, overlapping, stopped where one ends",
    10,
    "hf",
    { ctx: 6, stride: 2 },
    ["0|1 2 3 4 5|", "2 3 4 5|6 7|", "4 5 6 7|8 9|"],
  ],
  ["hf, a last shorter one", 9, "hf", { ctx: 6, stride: 2 }, ["0|1 2 3 4 5|", "2 3 4 5|6 7|", "4 5 6 7|8|"]],
  ["hf, not overlapping", 7, "hf", { ctx: 4, stride: 4 }, ["0|1 2 3|", "4|5 6|"]],
  ["hf, a last id that nothing predicts", 5, "hf", { ctx: 4, stride: 4 }, ["0|1 2 3|"]],
  ["hf, by default in steps of half a narrow window", 6, "hf", { ctx: 4 }, ["0|1 2 3|", "2 3|4 5|"]],
  ["the first windows only", 12, "plain", { ctx: 4, limit: 2 }, ["0|1 2 3|", "4|5 6 7|"]],
  ["more windows asked for than there are", 4, "hf", { ctx: 4, limit: 9 }, ["0|1 2 3|"]],
] as const) {
  test(`lays out ${name}`, () => {
    assert.deepEqual(draw(n, method, options), expected);
  });
}

for (const [method, modelMax, ctx, stride, scored] of [
  ["plain", 1024, 1024, undefined, 1023],
  ["plain", 32_768, 2048, undefined, 2047],
  ["gptq", 32_768, 2048, undefined, 2047],
  ["llama.cpp", 32_768, 512, undefined, 255],
  ["hf", 32_768, 1024, 512, 1023],
] as const) {
  test(`${method} of a model of ${modelMax} is ${ctx} wide by default`, () => {
    const layout = layoutWindows(count(5000), method, { modelMax, addsBos: false });
    assert.deepEqual([layout.ctx, layout.stride, layout.warnings], [ctx, stride, []]);
    const [first] = layout.windows;
    assert.deepEqual([first?.ids.length, (first?.scoreTo ?? 0) - (first?.scoreFrom ?? 0)], [ctx, scored]);
  });
}

test("hf steps by 512 ids, however wide its windows", () => {
  assert.equal(layoutWindows(count(5000), "hf", { ...noBos, ctx: 4000 }).stride, 512);
});

test("BOS is put into a copy, the ids stay as they are", () => {
  const ids = count(8);
  layoutWindows(ids, "llama.cpp", { ...noBos, ctx: 4, addsBos: true, bosId: 1 });
  assert.deepEqual(ids, count(8));
});

test("a method's width beyond the model's is cut, with a warning if the method is known by it", () => {
  const warnings = (method: Method, ctx: number | undefined) =>
    layoutWindows(count(500), method, { ctx, modelMax: 256, addsBos: false }).warnings;
  assert.deepEqual(warnings("plain", undefined), []);
  assert.deepEqual(warnings("gptq", undefined), [
    "the window of method gptq is 2048, but the model reads at most 256, which is used",
  ]);
  assert.deepEqual(warnings("hf", 256), []);
});

test("a width beyond the model's that was asked for is refused, whatever the method", () => {
  for (const method of methods) {
    const lay = (ctx: number) => layoutWindows(count(500), method, { ctx, modelMax: 256, addsBos: false });
    assert.equal(lay(256).ctx, 256);
    assert.throws(() => lay(257), {
      name: "FormatError",
      message: "--ctx is 257, but the model reads at most 256 ids",
    });
  }
});

for (const [name, n, method, options, error] of [
  ["no ids", 0, "plain", {}, ["FormatError", "the text has 0 token ids, but a perplexity needs at least 2"]],
  ["one id", 1, "hf", {}, ["FormatError", "the text has 1 token ids, but a perplexity needs at least 2"]],
  [
    "less than a window",
    511,
    "llama.cpp",
    {},
    ["FormatError", "the text has 511 token ids, but method llama.cpp needs a whole window of 512"],
  ],
  [
    "a window of 1",
    9,
    "plain",
    { ctx: 1 },
    ["UsageError", "--ctx is 1, but must be an integer of at least 2"],
  ],
  [
    "half a window",
    9,
    "plain",
    { ctx: 2.5 },
    ["UsageError", "--ctx is 2.5, but must be an integer of at least 2"],
  ],
  [
    "a window that scores nothing",
    9,
    "llama.cpp",
    { ctx: 2 },
    ["UsageError", "--ctx is 2, but must be an integer of at least 3"],
  ],
  [
    "no windows",
    9,
    "plain",
    { limit: 0 },
    ["UsageError", "--limit is 0, but must be an integer of at least 1"],
  ],
  [
    "no stride",
    9,
    "hf",
    { stride: 0 },
    ["UsageError", "--stride is 0, but must be an integer of at least 1"],
  ],
  [
    "a stride that leaves out ids",
    9,
    "hf",
    { ctx: 4, stride: 5 },
    ["UsageError", "--stride 5 exceeds the window of 4, so ids between would be left out"],
  ],
  [
    "a stride of disjoint windows",
    9,
    "gptq",
    { ctx: 4, stride: 2 },
    ["UsageError", "--stride 2 goes with --method hf only, not with gptq"],
  ],
] as const) {
  test(`refuses ${name}`, () => {
    const [errorName, message] = error;
    assert.throws(() => draw(n, method, options), { name: errorName, message, hint: /./ });
  });
}

test("the hint of a window that scores nothing says why, and what the method's own is", () => {
  assert.throws(() => draw(9, "plain", { ctx: 1 }), { hint: /first id .* is only read.* it is 2048$/ });
  assert.throws(() => draw(9, "llama.cpp", { ctx: 2 }), { hint: /second half.* it is 512$/ });
  assert.throws(() => draw(9, "hf", { ctx: 1, modelMax: 64 }), { hint: /it is 64$/ });
});

test("agrees with a slow reading of the definitions on random layouts", () => {
  const random = new Prng(5);
  for (let round = 0; round < 2000; round++) {
    const method = random.pick(methods);
    const n = 2 + random.below(40);
    const ctx = 3 + random.below(12);
    const stride = method === "hf" ? 1 + random.below(ctx) : undefined;
    const addsBos = random.below(2) === 0;
    const what = JSON.stringify({ method, n, ctx, stride, addsBos });
    const expected = slowWindows(n, method, ctx, stride ?? 0, addsBos);
    const layout = () => draw(n, method, { ctx, stride, addsBos, bosId: 99 });
    if (expected.length === 0) assert.throws(layout, { name: "FormatError" }, what);
    else assert.deepEqual(layout(), expected, what);
  }
});

test("whole sequences are windows of their own", () => {
  const ids = Int32Array.of(5, 6, 7);
  assert.deepEqual(sequenceWindows([ids]), [{ ids, scoreFrom: 1, scoreTo: 3 }]);
});

/** EVAL.md's table, one id at a time: for each window, for each id, is it in, is it scored? */
function slowWindows(n: number, method: Method, ctx: number, stride: number, addsBos: boolean): string[] {
  const drawn: string[] = [];
  const scoredBefore = new Set<number>();
  for (let begin = 0, reached = false; begin < n && !reached; begin += method === "hf" ? stride : ctx) {
    const inside = Array.from({ length: n }, (_, id) => id).filter((id) => id >= begin && id < begin + ctx);
    if ((method === "gptq" || method === "llama.cpp") && inside.length < ctx) break;
    const seen = inside.filter((id) => {
      const position = id - begin;
      if (position === 0) return false;
      if (method === "hf") return !scoredBefore.has(id);
      // Position p's logits score the id at p + 1; llama.cpp takes p from ctx / 2 to ctx - 2.
      if (method === "llama.cpp") return position - 1 >= Math.floor(ctx / 2) && position - 1 <= ctx - 2;
      return true;
    });
    for (const id of inside) scoredBefore.add(id);
    reached = inside.includes(n - 1);
    if (seen.length === 0) continue;
    const replaced = method === "llama.cpp" && addsBos;
    const name = (id: number) => String(replaced && id === begin ? -1 : id);
    const before = inside.filter((id) => !seen.includes(id));
    drawn.push(`${before.map(name).join(" ")}|${seen.map(name).join(" ")}|`);
  }
  return drawn;
}

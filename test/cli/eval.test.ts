import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { reservedBytes } from "../../src/model/load.ts";
import { scratchDirectory } from "../convert/scratch.ts";
import { FakeTerminal } from "../ui/fake-terminal.ts";
import type { Run } from "./run.ts";
import { assertOk, assertRefused, documentOf, nestedfp, root, start } from "./run.ts";

const tiny = join(root, "fixtures/tiny-llama");
const text = join(root, "fixtures/text/overlay.txt");

type Precisions = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
type Result = {
  readonly method: string;
  readonly ctx: number;
  readonly windows: number;
  readonly scored: number;
  readonly text_sha256: string;
  readonly precisions: Precisions;
};

/** Runs eval with a cache of its own, so that no other run can be resumed. */
async function evaluate(t: TestContext, args: readonly string[], cache?: string): Promise<Run> {
  const home = cache ?? (await scratchDirectory(t));
  return nestedfp(["eval", ...args], { env: { XDG_CACHE_HOME: home } });
}

async function convertedTiny(t: TestContext): Promise<string> {
  const output = join(await scratchDirectory(t), "tiny");
  assertOk(await nestedfp(["convert", tiny, "-o", output, "-q"]));
  return output;
}

/** A copy of the tiny model in which one JSON file is edited. */
async function tinyWith(
  t: TestContext,
  file: string,
  edit: (json: Record<string, unknown>) => void,
): Promise<string> {
  const copy = join(await scratchDirectory(t), "tiny");
  cpSync(tiny, copy, { recursive: true });
  const json = JSON.parse(readFileSync(join(copy, file), "utf8"));
  edit(json);
  writeFileSync(join(copy, file), JSON.stringify(json));
  return copy;
}

test("the document has every number, and the report its closing lines", async (t) => {
  const model = await convertedTiny(t);
  const run = await evaluate(t, [model, "--text", text, "--ctx", "128", "--json"]);
  assertOk(run);
  const { schema, result } = documentOf<Result>(run);
  assert.equal(schema, "nestedfp.eval/1");
  assert.equal(result.method, "plain");
  assert.equal(result.ctx, 128);
  assert.match(result.text_sha256, /^[0-9a-f]{64}$/);
  assert.deepEqual(Object.keys(result.precisions), ["fp16", "nested-fp16", "nested-fp8", "fp8"]);
  const compared =
    "delta_ln_ppl delta_ln_ppl_stderr ppl_ratio kld_mean kld_median kld_p99 kld_p999 kld_max same_top1 same_top1_stderr rms_delta_p";
  for (const key of ["ppl", "ppl_stderr", "mean_nll"])
    assert.equal(typeof result.precisions.fp16?.[key], "number", key);
  for (const key of compared.split(" "))
    assert.equal(typeof result.precisions["nested-fp8"]?.[key], "number", key);
  assert.equal(result.precisions["nested-fp16"]?.ppl, result.precisions.fp16?.ppl);
  assert.equal(result.precisions["nested-fp16"]?.kld_max, 0);
  assert.equal(result.precisions["nested-fp16"]?.same_top1, 1);

  const human = await evaluate(t, [model, "--text", text, "--ctx", "128", "--progress", "none"]);
  const ppl = Number(result.precisions["nested-fp8"]?.ppl).toFixed(4);
  assert.ok(human.stdout.includes(`nested-fp8: Final estimate: PPL = ${ppl} +/- `), human.stdout);
});

test("--token-ids needs no tokenizer, --per-token gives a list per window", async (t) => {
  const model = await tinyWith(t, "config.json", () => undefined);
  const ids = join(await scratchDirectory(t), "ids.json");
  writeFileSync(
    ids,
    JSON.stringify({
      input_ids: [
        [0, 318, 364, 1868],
        [0, 653, 86],
      ],
    }),
  );
  rmSync(join(model, "tokenizer.json"));
  const run = await evaluate(t, [model, "--token-ids", ids, "--precision", "fp16", "--per-token", "--json"]);
  const { result } = documentOf<Result>(run);
  assert.deepEqual([result.method, result.windows, result.scored], ["token-ids", 2, 5]);
  const nll = result.precisions.fp16?.nll as number[][];
  assert.deepEqual(
    nll.map((list) => list.length),
    [3, 2],
  );
});

test("a gate that holds, or asks for what is not there, ends with 1 after the report", async (t) => {
  const args = [tiny, "--text", text, "--precision", "fp16,fp8", "--limit", "1", "--ctx", "64"];
  const passed = await evaluate(t, [...args, "--fail-if", "fp8.ppl_ratio>100"]);
  assertOk(passed);
  const failed = await evaluate(t, [...args, "--fail-if", "fp8.ppl>0", "--fail-if", "nested-fp8.ppl>0"]);
  assert.equal(failed.code, 1);
  assert.match(failed.stdout, /Final estimate/);
  assert.match(failed.stderr, /gate failed: fp8\.ppl is [\d.]+, > 0\ngate failed: nested-fp8 was not/);
  const document = await evaluate(t, [...args, "--fail-if", "fp8.ppl>0", "--json"]);
  const { gates } = documentOf<{ gates: readonly { failed: boolean }[] }>(document).result;
  assert.deepEqual([document.code, gates.map((gate) => gate.failed)], [1, [true]]);
  assert.match(document.stderr, /gate failed: fp8\.ppl/);
});

test("an interrupted run goes on with the windows that are left, to the same result", async (t) => {
  const cache = await scratchDirectory(t);
  const args = [tiny, "--text", text, "--precision", "fp16,fp8", "--ctx", "32", "--json"];
  const whole = documentOf<Result>(await evaluate(t, args));
  const started = start(["eval", ...args, "--progress", "plain"], { env: { XDG_CACHE_HOME: cache } });
  await started.line(/^[1-9]0% \|/);
  started.child.kill("SIGINT");
  const interrupted = await started.ended;
  assert.ok(interrupted.code === 130 || interrupted.code === 0, interrupted.stderr);
  if (interrupted.code === 130) assert.match(interrupted.stderr, /Hint: an evaluation goes on with --resume/);
  const resumed = documentOf<Result>(await evaluate(t, [...args, "--resume"], cache));
  assert.deepEqual(resumed.result, whole.result);
});

/** An evaluation that was killed on its way, the file that it left, and how it goes on. */
async function killedRun(t: TestContext) {
  const cache = await scratchDirectory(t);
  const texts = [text, text, text]; // so that it is not over before it is killed
  const args = [tiny, "--text", ...texts, "--precision", "fp16", "--ctx", "32", "--json"];
  const started = start(["eval", ...args, "--progress", "plain"], { env: { XDG_CACHE_HOME: cache } });
  await started.line(/^[1-9]0% \| window [1-9]/);
  started.child.kill("SIGKILL");
  await started.ended;
  const folder = join(cache, "nestedfp/eval");
  const [name = ""] = readdirSync(folder).filter((entry) => entry.endsWith(".jsonl"));
  const path = join(folder, name);
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  const resume = async (changed: readonly string[], ...more: readonly string[]): Promise<string> => {
    writeFileSync(path, changed.map((line) => `${line}\n`).join(""));
    const run = await evaluate(t, [...args, "--resume", ...more], cache);
    assert.deepEqual(documentOf<Result>(run).result, documentOf<Result>(await evaluate(t, args)).result);
    return run.stderr.replaceAll(JSON.stringify(path), "FILE");
  };
  return { lines, resume };
}

const invented = JSON.stringify({ record: { window: 0, summaries: { fp16: { nll: { n: 31, sum: 1 } } } } });

test("windows that somebody wrote into an interrupted run count for nothing, with a message", async (t) => {
  const { lines, resume } = await killedRun(t);
  const [first = "", second = ""] = lines;
  assert.equal(
    await resume([first, invented, second]),
    "Warning: a line of FILE is not as eval wrote it and counts for nothing: 1 intact window of it is used\n",
  );
});

test("lines that are there twice, empty or torn are told apart", async (t) => {
  const { lines, resume } = await killedRun(t);
  const [first = "", second = ""] = lines;
  assert.equal(
    await resume([first, invented, "", "garbage", second, second, second]),
    "Warning: 2 lines of FILE are not as eval wrote them and count for nothing: 1 intact window of it is used\n" +
      "Warning: 2 lines of FILE repeat a window: it counts once\n",
  );
});

test("a file that begins with another evaluation is not gone on with", async (t) => {
  const { lines, resume } = await killedRun(t);
  assert.equal(
    await resume(['{"identity":"other"}', ...lines.slice(1)]),
    "Warning: FILE does not begin as eval wrote it: every window is evaluated again\n",
  );
});

/** What a terminal shows that was sent this. */
function shown(stderr: string): readonly string[] {
  const terminal = new FakeTerminal(80);
  terminal.write(stderr);
  return terminal.lines;
}

test("of the live table nothing is left when the report comes, and a warning stays", async (t) => {
  const { lines, resume } = await killedRun(t);
  const stderr = await resume([...lines, "garbage"], "--progress", "tty");
  assert.match(stderr, /tiny-llama/);
  assert.match(shown(stderr).join("\n"), /^Warning: a line of FILE is not as eval wrote it .*$/);
});

test("the live table of an interrupted run stays as it was, where it has a result", async (t) => {
  const cache = await scratchDirectory(t);
  const texts = Array.from({ length: 20 }, () => text); // so that it is not over before it is interrupted
  const args = [
    "eval",
    tiny,
    "--text",
    ...texts,
    "--precision",
    "fp16,fp8",
    "--ctx",
    "32",
    "--progress",
    "tty",
  ];
  const { child, ended } = start(args, { env: { XDG_CACHE_HOME: cache } });
  await new Promise<void>((resolve) => {
    child.stderr?.on("data", (bytes) => /window [1-9]/.test(String(bytes)) && resolve());
    child.on("close", () => resolve());
  });
  child.kill("SIGINT");
  const { code, stderr } = await ended;
  assert.equal(code, 130);
  const [title, bar, fp16, fp8, ...error] = shown(stderr);
  assert.match(title ?? "", /^tiny-llama \| window \d+ of \d+$/);
  assert.match(bar ?? "", /^█+░+ \d+\.\d % \| ETA (\d+ min )?\d+ s$/);
  assert.match(fp16 ?? "", /^fp16 \d+\.\d{4} \+\/- \d+\.\d{4}$/);
  assert.match(fp8 ?? "", /^fp8 {2}\d+\.\d{4} \+\/- \d+\.\d{4} x \d\.\d{5}$/);
  assert.deepEqual(error, ["Error: interrupted by SIGINT", "Hint: an evaluation goes on with --resume"]);
});

test("a second run of the same evaluation is refused, another one is not", async (t) => {
  const cache = await scratchDirectory(t);
  const args = [tiny, "--text", text, "--precision", "fp16,fp8", "--ctx", "32"];
  const first = start(["eval", ...args, "--progress", "plain"], { env: { XDG_CACHE_HOME: cache } });
  await first.line(/^[1-9]0% \|/);
  first.child.kill("SIGSTOP");
  try {
    assertRefused(await evaluate(t, args, cache), 2, /tiny-llama" is being evaluated by another run/);
    assertRefused(await evaluate(t, [...args, "--resume"], cache), 2, /being evaluated by another run/);
    assertOk(await evaluate(t, [...args, "--limit", "1"], cache));
  } finally {
    first.child.kill("SIGCONT");
  }
  assert.equal((await first.ended).code, 0);
  assert.deepEqual(readdirSync(join(cache, "nestedfp/eval")), []);
});

test("a converted directory and its FP8 view are read, by what their config says", async (t) => {
  const output = await convertedTiny(t);
  const view = join(await scratchDirectory(t), "view");
  assertOk(await nestedfp(["export", output, "--to", "fp8-only", "-o", view, "-q"]));
  const ppl = [];
  for (const model of [output, view]) {
    const args = [
      model,
      "--text",
      text,
      "--limit",
      "1",
      "--ctx",
      "32",
      "--precision",
      "nested-fp8",
      "--json",
    ];
    ppl.push(documentOf<Result>(await evaluate(t, args)).result.precisions["nested-fp8"]?.ppl);
  }
  assert.equal(ppl[0], ppl[1]);
});

test("help shows defaults, and none of lists", async () => {
  for (const command of ["eval", "convert"]) {
    const { stdout } = await nestedfp([command, "--help"]);
    const help = stdout.replace(/\s+/g, " ");
    assert.doesNotMatch(help, /\[\]/);
    assert.match(help, /\(repeatable\) \(default: none\)/);
    assert.match(help, command === "eval" ? /\(default: 3\/4 of what is free\)/ : /\(default: 256M\)/);
  }
});

test("a directory in which nothing was split says so, and runs in what it has", async (t) => {
  const output = join(await scratchDirectory(t), "whole");
  assertOk(await nestedfp(["convert", tiny, "-o", output, "--exclude", "*", "-q"]));
  const args = [output, "--text", text, "--limit", "1", "--ctx", "32"];
  const refused = await evaluate(t, [...args, "--precision", "nested-fp8"]);
  assertRefused(refused, 2, /precision nested-fp8 is not in this model, only fp16, fp8$/);
  assert.match(refused.stderr, /^Hint: no weight of this directory was split/m);
  const { result } = documentOf<Result>(await evaluate(t, [...args, "--json"]));
  assert.deepEqual(Object.keys(result.precisions), ["fp16", "fp8"]);
});

const refusals: readonly (readonly [
  string,
  (t: TestContext) => Promise<readonly string[]>,
  number,
  RegExp,
])[] = [
  ["neither text nor ids", async () => [tiny], 2, /--text/],
  ["a model that --text took for a file", async () => ["--text", text, tiny], 2, /eval needs a model/],
  [
    "a context beyond the model's",
    async () => [tiny, "--text", text, "--ctx", "1025"],
    4,
    /--ctx is 1025, but the model reads at most 1024 ids/,
  ],
  [
    "text that is not UTF-8",
    async (t) => [tiny, "--text", await file(t, Buffer.from([0x61, 0xff, 0xfe]))],
    4,
    /UTF-8/,
  ],
  ["an empty text", async (t) => [tiny, "--text", await file(t, "")], 4, /at least 2/],
  ["a missing text", async () => [tiny, "--text", "/nowhere.txt"], 4, /nowhere/],
  ["an unknown precision", async () => [tiny, "--text", text, "--precision", "int4"], 2, /int4/],
  [
    "a precision the model lacks",
    async () => [tiny, "--text", text, "--precision", "nested-fp8"],
    2,
    /nested-fp8/,
  ],
  ["a GPU", async () => [tiny, "--text", text, "--device", "cuda"], 3, /cuda/],
  ["an unknown device", async () => [tiny, "--text", text, "--device", "tpu"], 2, /tpu/],
  [
    "windows asked for with --token-ids",
    async (t) => [tiny, "--token-ids", await file(t, '{"input_ids": [[1, 2]]}'), "--ctx", "4"],
    2,
    /--token-ids/,
  ],
  [
    "a method for --token-ids",
    async (t) => [tiny, "--token-ids", await file(t, '{"input_ids": [[1, 2]]}'), "--method", "hf"],
    2,
    /--token-ids <file>' cannot be used with option '--method/,
  ],
  ["a malformed gate", async () => [tiny, "--text", text, "--fail-if", "ppl"], 2, /ppl/],
  ["a stride without its method", async () => [tiny, "--text", text, "--stride", "4"], 2, /--stride/],
  [
    "an unknown tokenizer component",
    async (t) => [
      await tinyWith(t, "tokenizer.json", (json) => {
        json.pre_tokenizer = { type: "Telepathy" };
      }),
      "--text",
      text,
    ],
    4,
    /Telepathy/,
  ],
  [
    "a config that contradicts the weights",
    async (t) => [
      await tinyWith(t, "config.json", (json) => {
        json.intermediate_size = 513;
      }),
      "--text",
      text,
    ],
    4,
    /shape/,
  ],
  [
    "a layer that is not there",
    async (t) => [
      await tinyWith(t, "config.json", (json) => {
        json.num_hidden_layers = 5;
      }),
      "--text",
      text,
    ],
    4,
    /no tensor "model\.layers\.4/,
  ],
  [
    "a layer more than the config says",
    async (t) => [
      await tinyWith(t, "config.json", (json) => {
        json.num_hidden_layers = 1;
      }),
      "--text",
      text,
    ],
    4,
    /says num_hidden_layers 1, but the weights have "model\.layers\.[1-9]/,
  ],
  [
    "a model quantised by others",
    async (t) => [
      await tinyWith(t, "config.json", (json) => {
        json.quantization_config = { quant_method: "gptq", bits: 4 };
      }),
      "--text",
      text,
    ],
    4,
    /tiny\/config\.json": "quantization_config" is of "gptq"/,
  ],
  [
    "an architecture that is not supported",
    async (t) => [
      await tinyWith(t, "config.json", (json) => {
        json.model_type = "gpt2";
      }),
      "--text",
      text,
    ],
    4,
    /tiny\/config\.json": model_type "gpt2"/,
  ],
];

async function file(t: TestContext, content: string | Buffer): Promise<string> {
  const path = join(await scratchDirectory(t), "text.txt");
  writeFileSync(path, content);
  return path;
}

for (const [what, args, code, sentence] of refusals) {
  test(`refused with ${code}: ${what}`, async (t) => {
    const run = await evaluate(t, await args(t));
    assertRefused(run, code, sentence);
    assert.match(run.stderr, /^Hint: /m);
  });
}

for (const precision of ["fp16", "nested-fp16", "nested-fp8", "fp8"]) {
  test(`weights that hold a NaN are refused in ${precision}`, async (t) => {
    const copy = join(await scratchDirectory(t), "tiny");
    cpSync(tiny, copy, { recursive: true });
    damage(join(copy, "model.safetensors"), "model.layers.0.self_attn.q_proj.weight", 0x7e00);
    const model = precision.startsWith("nested") ? join(await scratchDirectory(t), "out") : copy;
    if (model !== copy) assertOk(await nestedfp(["convert", copy, "-o", model, "-q"]));
    const args = [model, "--text", text, "--ctx", "32", "--limit", "1", "--precision", precision];
    assertRefused(await evaluate(t, args), 4, new RegExp(`the logits of ${precision} .* are not finite`));
  });
}

/** Puts a word in place of the sixth of a tensor. */
function damage(path: string, tensor: string, word: number): void {
  const bytes = readFileSync(path);
  const size = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + size));
  bytes.writeUInt16LE(word, 8 + size + header[tensor].data_offsets[0] + 2 * 5);
  writeFileSync(path, bytes);
}

test("the window of a method beyond the model's is cut, with a warning", async (t) => {
  const ids = Array.from({ length: 1100 }, () => "and").join(" ");
  const args = [tiny, "--text", await file(t, ids), "--precision", "fp16", "--method", "gptq", "--json"];
  const run = await evaluate(t, args);
  assert.equal(run.code, 0);
  assert.equal(documentOf<Result>(run).result.ctx, 1024);
  assert.match(run.stderr, /^Warning: the window of method gptq is 2048, .* at most 1024/);
});

test("--text takes its files up to the next option, wherever the model stands", async (t) => {
  const parts = [await file(t, "one and "), await file(t, "another")];
  const shas = [];
  for (const args of [
    [tiny, "--ctx", "5", "--text", ...parts],
    [tiny, "--text", ...parts, "--ctx", "5"],
    ["--text", ...parts, "--ctx", "5", tiny],
    ["--text", parts[0], "--ctx", "5", "--text", parts[1], "--precision", "fp16", tiny],
  ]) {
    const run = await evaluate(t, [...(args as string[]), "--precision", "fp16", "--json"]);
    assertOk(run);
    const { ctx, text_sha256 } = documentOf<Result & { text_sha256: string }>(run).result;
    shas.push([ctx, text_sha256]);
  }
  const sha256 = createHash("sha256").update("one and another").digest("hex");
  assert.deepEqual(
    shas,
    shas.map(() => [5, sha256]),
  );
});

test("a single scored id has no error, in the document null and in the report nothing", async (t) => {
  const ids = await file(t, '{"input_ids": [[1, 2]]}');
  const args = [tiny, "--token-ids", ids, "--precision", "fp16,fp8"];
  const human = await evaluate(t, args);
  assertOk(human);
  assert.match(human.stdout, /^fp16: Final estimate: PPL = \d+\.\d{4}$/m);
  assert.doesNotMatch(human.stdout, /nan|\+\/-|null/i);
  const { precisions } = documentOf<Result>(await evaluate(t, [...args, "--json"])).result;
  const { ppl_stderr, delta_ln_ppl_stderr, same_top1_stderr } = precisions.fp8 as Record<string, unknown>;
  assert.deepEqual([ppl_stderr, delta_ln_ppl_stderr, same_top1_stderr], [null, null, null]);
});

test("--help says what --max-memory sets aside whatever the model", async (t) => {
  const help = (await evaluate(t, ["--help"])).stdout.replaceAll(/\s+/g, " ");
  assert.match(
    help,
    new RegExp(`--max-memory .*; ${reservedBytes / 2 ** 20}M of it for other than the model`),
  );
});

test("without a cache directory that can be written it runs with a warning, and does not resume", async (t) => {
  const args = [tiny, "--text", text, "--precision", "fp16", "--limit", "1", "--ctx", "32"];
  const run = await evaluate(t, args, "/dev/null");
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stderr, /^Warning: this run cannot be resumed: .*ENOTDIR/m);
  assertRefused(await evaluate(t, [...args, "--resume"], "/dev/null"), 3, /ENOTDIR/);
});

test("a relative XDG_CACHE_HOME is no place for windows to resume", async (t) => {
  const home = await scratchDirectory(t);
  const cwd = await scratchDirectory(t);
  const args = ["eval", tiny, "--text", text, "--precision", "fp16", "--limit", "1", "--ctx", "32"];
  assertOk(await nestedfp(args, { cwd, env: { HOME: home, XDG_CACHE_HOME: "relative" } }));
  assert.deepEqual([readdirSync(cwd), readdirSync(home)], [[], [".cache"]]);
});

import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import type { BenchResult } from "../../src/bench/result.ts";
import { scratchDirectory } from "../convert/scratch.ts";
import type { Run } from "./run.ts";
import { assertOk, assertRefused, documentOf, nestedfp, root, start } from "./run.ts";

const tiny = join(root, "fixtures/tiny-llama");
const text = join(root, "fixtures/text/overlay.txt");
const quick = ["--warm", "--min-samples", "3", "--timeout", "0.05", "--threads", "2"];
const cpu = ["--device", "cpu", ...quick];

/** Runs bench with a cache of its own, so that the user's table of tuned kernels stays as it is. */
async function bench(t: TestContext, args: readonly string[], cache?: string): Promise<Run> {
  return nestedfp(["bench", ...args], { env: { XDG_CACHE_HOME: cache ?? (await scratchDirectory(t)) } });
}

test("the document has device, rows and summary, and every kernel is correct", async (t) => {
  const run = await bench(t, ["--shapes", "96,64", "--shapes", "48x128", "-m", "1,8-16*2", ...cpu, "--json"]);
  assertOk(run);
  const { schema, result } = documentOf<BenchResult>(run);
  assert.equal(schema, "nestedfp.bench/1");
  assert.equal(result.device.kind, "cpu");
  assert.match(result.device.name, /^cpu \w+, 2 threads of \S/);
  assert.equal(result.options.cold, false);
  assert.equal(result.rows.length, 2 * 3 * 4);
  for (const row of result.rows) {
    assert.deepEqual([row.status, row.check?.ok], ["ok", true]);
    assert.equal(row.check?.bitwise, row.kernel === "nested-fp16" ? true : undefined);
    const { median_us, q1_us, q3_us, samples, samples_us, m, n, k } = row;
    assert.ok(median_us !== null && q1_us !== null && q3_us !== null);
    assert.ok(0 < q1_us && q1_us <= median_us && median_us <= q3_us);
    assert.equal(samples_us.length, samples);
    assert.equal(row.tflops, (2 * m * n * k) / median_us / 1e6);
    const fp16 = result.rows.find((one) => one.kernel === "fp16" && one.n === n && one.m === m);
    assert.equal(row.vs_fp16, (fp16?.median_us ?? 0) / median_us);
    for (const key of ["sm_clock_mhz", "power_w"] as const) assert.equal(row[key], null);
    assert.equal(row.throttled, false);
  }
  assert.deepEqual(
    result.summary.map(({ kernel, baseline, bands }) => [kernel, baseline, bands.all?.points]),
    [
      ["nested-fp16", "fp16", 6],
      ["nested-fp8", "fp16", 6],
      ["nested-fp8", "fp8", 6],
      ["fp8", "fp16", 6],
    ],
  );
});

test("--timeout takes a power of ten; --tp without a model, sums in FP32 under --tune and no home are refused", async (t) => {
  const args = ["--shapes", "32,32", "-m", "1", "--kernels", "fp16", ...cpu];
  assertOk(await bench(t, [...args, "--timeout", "1e-3"]));
  assertRefused(
    await bench(t, [...args, "--timeout", "1e-"]),
    2,
    /must be a number above 0, such as 0\.5 or 1e-3/,
  );
  assertRefused(await bench(t, [...args, "--tp", "2"]), 2, /--tp shares the layers of a model or a preset/);
  assertRefused(
    await bench(t, [...args, "--tune", "--fp8-sums", "fp32"]),
    2,
    /--tune remembers .* --fp8-sums fp32/,
  );
  const homeless = { XDG_CACHE_HOME: "", HOME: "" };
  const run = await nestedfp(["bench", ...args, "--tune"], { env: homeless });
  assertRefused(run, 3, /the home directory is "", which is no absolute path/);
});

test("the layers of a model, and of its config.json under --tp", async (t) => {
  const run = await bench(t, [tiny, "-m", "1", "--kernels", "fp16", ...cpu, "--json"]);
  const { rows } = documentOf<BenchResult>(run).result;
  assert.deepEqual(
    rows.map(({ shape, n, k }) => `${shape} ${n}x${k}`),
    ["qkv 320x192", "o 192x192", "gate_up 1024x192", "down 192x512"].map((name) => `tiny-llama ${name}`),
  );
  const config = join(tiny, "config.json");
  const split = await bench(t, [config, "--tp", "1,2", "-m", "1", "--kernels", "fp16", ...cpu, "--json"]);
  assert.deepEqual(
    documentOf<BenchResult>(split)
      .result.rows.slice(4)
      .map(({ shape, n, k }) => `${shape} ${n}x${k}`),
    ["qkv 160x192", "o 192x96", "gate_up 512x192", "down 192x256"].map((name) => `tiny-llama tp2 ${name}`),
  );
});

test("auto says on stderr which device it takes, and -q does not", async (t) => {
  const args = ["--shapes", "16,16", "-m", "1", "--kernels", "fp16", ...quick];
  const run = await bench(t, args);
  assert.equal(run.code, 0);
  assert.match(run.stderr, /^Device: .*(using|cpu|NVIDIA)/m);
  assert.match(run.stdout, /16x16 +16 x 16 +1 +fp16/);
  const quiet = await bench(t, [...args, "-q"]);
  assert.deepEqual([quiet.stdout, quiet.stderr], ["", ""]);
});

test("a resumed run measures what is missing alone, and its document has all rows", async (t) => {
  const rows = join(await scratchDirectory(t), "rows.jsonl");
  const args = ["--shapes", "32,32", "--kernels", "fp16,fp8", ...cpu, "-o", rows, "--json"];
  assertOk(await bench(t, [...args, "-m", "1"]));
  assertRefused(await bench(t, [...args, "-m", "1,2"]), 2, /rows\.jsonl" exists/);
  const before = readFileSync(rows, "utf8");
  appendFileSync(rows, '{"kernel":"fp');
  const run = await bench(t, [...args, "-m", "1,2", "--resume"]);
  assertOk(run);
  const after = readFileSync(rows, "utf8");
  assert.ok(after.startsWith(before));
  assert.equal(after.trimEnd().split("\n").length, 1 + 4);
  const { result } = documentOf<BenchResult>(run);
  assert.deepEqual(
    result.rows.map(({ kernel, m }) => [kernel, m]),
    [
      ["fp16", 1],
      ["fp8", 1],
      ["fp16", 2],
      ["fp8", 2],
    ],
  );
  assert.deepEqual(
    result.rows.map((row) => JSON.stringify(row)),
    after.trimEnd().split("\n").slice(1),
  );
  const other = await bench(t, [...args, "-m", "1,2", "--resume", "--threads", "1"]);
  assertRefused(other, 2, /was measured on "cpu \w+, 2 threads of .*", and this is "cpu \w+, 1 threads of /);
});

test("a wrong kernel ends with 1 after the report, and says which", async (t) => {
  const rows = join(await scratchDirectory(t), "rows.jsonl");
  const args = ["--shapes", "32,32", "-m", "1", "--kernels", "fp16,fp8", ...cpu, "-o", rows, "--json"];
  assertOk(await bench(t, args));
  const lines = readFileSync(rows, "utf8").split("\n");
  // No kernel of the CPU is wrong, so the row of an earlier run says that one was.
  const wrong = { ...JSON.parse(lines[2] ?? ""), status: "incorrect", median_us: null };
  writeFileSync(rows, [...lines.slice(0, 2), JSON.stringify(wrong), ""].join("\n"));
  const run = await bench(t, [...args, "--resume"]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /^fp8 cpu \w+ at N 32, K 32, M 1 gives wrong results$/m);
  assert.equal(documentOf<BenchResult>(run).result.rows[1]?.status, "incorrect");
});

test("an interrupted run keeps its rows, and goes on from them", async (t) => {
  const folder = await scratchDirectory(t);
  const rows = join(folder, "rows.jsonl");
  const args = ["bench", "--shapes", "32,32", "-m", "1-40", "--kernels", "fp16", "--device", "cpu", "--warm"];
  const run = [...args, "--max-noise", "0", "--timeout", "0.2", "-o", rows, "--progress", "plain"];
  const env = { XDG_CACHE_HOME: folder };
  const started = start(run, { env });
  await started.line(/ 2 of 40 /);
  started.child.kill("SIGINT");
  const { code, stdout, stderr } = await started.ended;
  assert.deepEqual([code, stdout], [130, ""]);
  assert.match(stderr, /Error: interrupted by SIGINT\nHint: the benchmark goes on with --resume\n$/);
  const before = readFileSync(rows, "utf8");
  const measured = before.trimEnd().split("\n").length - 1;
  assert.ok(measured >= 2 && measured < 40, `${measured} rows`);
  const quick = run.map((word) => (word === "1-40" ? `1-${measured}` : word));
  const resumed = await nestedfp([...quick, "--resume"], { env });
  assertOk(resumed);
  assert.equal(readFileSync(rows, "utf8"), before);
});

const preload = `--import=${join(import.meta.dirname, "fail-calls.mjs")}`;
const failing = (call: string) => ({ NODE_OPTIONS: preload, NESTEDFP_FAIL: `${call}:ENOSPC` });

test("a disk that takes no more rows is exit 3, and the run goes on where it was", async (t) => {
  const folder = await scratchDirectory(t);
  const rows = join(folder, "rows.jsonl");
  const args = ["bench", "--shapes", "32,32", "-m", "1-3", "--kernels", "fp16", ...cpu, "-o", rows, "-q"];
  const env = { XDG_CACHE_HOME: folder };
  // The header is the first write, the row of M 1 the second.
  const full = await nestedfp(args, { env: { ...env, ...failing("write:3") } });
  assertRefused(full, 3, /rows\.jsonl" cannot be written: no space left on device \(ENOSPC\)/);
  assertOk(await nestedfp([...args, "--resume"], { env }));
  assert.equal(readFileSync(rows, "utf8").trimEnd().split("\n").length, 1 + 3);
});

test("a report that cannot be written is exit 3, and what was measured is printed all the same", async (t) => {
  const folder = await scratchDirectory(t);
  const args = ["bench", "--shapes", "32,32", "-m", "1", "--kernels", "fp16", ...cpu];
  const env = { XDG_CACHE_HOME: folder, ...failing("write:1") };
  const run = await nestedfp([...args, "-o", join(folder, "r.json"), "--json"], { env });
  assert.equal(run.code, 3);
  assert.match(run.stderr, /^Error: ".*r\.json.*" cannot be written: no space left on device \(ENOSPC\)$/m);
  assert.equal(documentOf<BenchResult>(run).result.rows.length, 1);
  assert.ok(!existsSync(join(folder, "r.json")));
});

test("--tune remembers the fastest of this device beside those of others", async (t) => {
  const cache = await scratchDirectory(t);
  const path = join(cache, "nestedfp/tune.json");
  const other = { driver: null, entries: [{ kernel: "fp16", n: 1, k: 1, m: 1, config: "x", us: 1 }] };
  mkdirSync(join(cache, "nestedfp"));
  writeFileSync(path, JSON.stringify({ schema: "nestedfp.tune/1", devices: { "Other GPU": other } }));
  const args = ["--shapes", "32,32", "-m", "1", "--kernels", "fp16", ...cpu];
  assertOk(await bench(t, args, cache));
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(path, "utf8")).devices), ["Other GPU"]);
  assertOk(await bench(t, [...args, "--tune"], cache));
  const { devices } = JSON.parse(readFileSync(path, "utf8"));
  assert.deepEqual(devices["Other GPU"], other);
  const [name = ""] = Object.keys(devices).filter((key) => key !== "Other GPU");
  assert.match(name, /^cpu/);
  assert.deepEqual(
    devices[name].entries.map(({ n, k, m, kernel }: Record<string, unknown>) => [n, k, m, kernel]),
    [[32, 32, 1, "fp16"]],
  );
  writeFileSync(path, "{");
  assertRefused(await bench(t, [...args, "--tune"], cache), 4, /tune\.json" is no table/);
  // The CPU has nothing to look up in it.
  assertOk(await bench(t, args, cache));
});

test("--text adds the perplexity of each precision", async (t) => {
  const args = [tiny, "-m", "1", "--kernels", "fp16,fp8", ...cpu];
  const run = await bench(t, [...args, "--text", text, "--json"]);
  assertOk(run);
  type WithPerplexity = { perplexity: { precisions: Record<string, { ppl: number }> } };
  const { perplexity } = documentOf<WithPerplexity>(run).result;
  assert.deepEqual(Object.keys(perplexity.precisions), ["fp16", "fp8"]);
  assert.ok((perplexity.precisions.fp8?.ppl ?? 0) > 1);
  const human = await bench(t, [...args, "--text", text, "--progress", "none"]);
  assert.match(human.stdout, /vs fp16[\s\S]*fp8: Final estimate: PPL = /);
});

test("every format of -o is written from one run, and --progress plain has a line for each point", async (t) => {
  const folder = await scratchDirectory(t);
  const files = ["r.json", "r.csv", "r.md", "r.svg", "r.txt", "r.jsonl"].map((name) => join(folder, name));
  const args = ["--shapes", "32,32", "-m", "1,4", "--progress", "plain", ...cpu];
  const run = await bench(t, [...args, ...files.flatMap((file) => ["-o", file])]);
  assertOk(run);
  assert.match(
    run.stderr,
    /^50% \| 1 of 2 \| ETA \d+ s \| 32x32 32 x 32, M 1 \| fp16 [\d.]+ us, nested-fp16 [\d.]+ us \(x [\d.]+\), .*\n100% \| 2 of 2 .* M 4 .*\n$/,
  );
  const [json = "", csv = "", markdown = "", svg = "", plain = "", lines = ""] = files.map((file) =>
    readFileSync(file, "utf8"),
  );
  assert.equal(JSON.parse(json).result.rows.length, 8);
  assert.equal(csv.trimEnd().split("\r\n").length, 9);
  assert.match(markdown, /^\| 32x32 \| 32 x 32 \| 4 \| fp8 \|/m);
  assert.match(svg, /^<svg /);
  assert.equal(plain, run.stdout);
  assert.equal(lines.trimEnd().split("\n").length, 9);
});

test("wrong calls are refused before anything is measured", async (t) => {
  const folder = await scratchDirectory(t);
  const shape = ["--shapes", "16,16"];
  const cases: readonly [readonly string[], number, RegExp][] = [
    [[], 2, /bench needs a model, --preset NAME or --shapes N,K/],
    [["--preset", "gpt-5"], 2, /--preset "gpt-5" is not known/],
    [["--shapes", "16"], 2, /--shapes "16" is not N,K/],
    [[...shape, "-m", "8-1"], 2, /-m "8-1": 8-1 runs backwards/],
    [["--preset", "qwen2.5-0.5b", "--tp", "4"], 2, /--tp 4 does not divide the 14 attention heads/],
    [[...shape, "--device", "tpu"], 2, /--device is "tpu"/],
    [[...shape, "--resume"], 2, /--resume needs -o FILE\.jsonl/],
    [[...shape, "-o", join(folder, "x.xls")], 2, /extension ".xls"/],
    [[...shape, "-o", join(folder, "a.jsonl"), "-o", join(folder, "b.jsonl")], 2, /more than one \.jsonl/],
    [[...shape, "--text", text], 2, /--text needs a model/],
    [[join(folder, "nothing")], 4, /cannot be read/],
    [[folder], 4, /config\.json" cannot be read/],
  ];
  for (const [args, code, sentence] of cases) assertRefused(await bench(t, args), code, sentence);
  assert.ok(!existsSync(join(folder, "a.jsonl")));
  for (const flags of [
    ["--kernels", "fp4"],
    ["--tp", "0"],
    ["--max-noise", "2"],
    ["--warm", "--cold"],
  ]) {
    assert.equal((await bench(t, [...shape, ...flags])).code, 2, flags.join(" "));
  }
});

test("a GPU that is not there is exit 3", async (t) => {
  const run = await bench(t, ["--shapes", "16,16", "-m", "1", "--device", "cuda:99"]);
  assertRefused(run, 3, /no usable GPU/);
});

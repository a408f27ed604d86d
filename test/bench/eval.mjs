// Speed of the CPU device's linear layers beside the machine's own limits:
//     node test/bench/eval.mjs [--threads N] [--implementation NAME] [--samples N] [--tokens M,M,...]
//         [--rows N] [--cols K]
//     node test/bench/eval.mjs --memory ...    peak memory instead, see eval-memory.mjs
// The default layer is that of a Llama 8B's up projection. native/bench/gemm_bench.cc times all contenders in turn in
// each sample; medians are compared within the run, as the machine may be shared and its clock may change.
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const release = fileURLToPath(new URL("../../native/build/Release/", import.meta.url));

/** Bytes of weights that a contender reads for each weight. */
const weightBytes = { fp16: 2, "nested-fp16": 2, "nested-fp8": 1, "nested-fp8 w8a16": 1, fp8: 1 };

/** From here on a mark asks for arithmetic; a single token's marks ask for bandwidth. */
const manyTokens = 256;

const marks = { ofPeak: 0.6, ofRead: 0.8, fp8OverFp16: 1.7, nestedOverFp16: 0.9 };

/**
 * Runs gemm_bench and prints its table; returns the lines that missed their mark.
 * @param options rows and cols of the layer, and arguments of gemm_bench.
 */
export function benchKernels({ rows, cols, ...flags }) {
  const args = Object.entries({ rows, cols, ...flags }).flatMap(([name, value]) => [`--${name}`, value]);
  const output = execFileSync(`${release}gemm_bench`, args, { encoding: "utf8", maxBuffer: 2 ** 20 });
  const byTokens = new Map();
  for (const line of output.trim().split("\n")) {
    const [tokens, name, median] = line.split("\t");
    const medians = byTokens.get(Number(tokens)) ?? {};
    byTokens.set(Number(tokens), { ...medians, [name]: Number(median) });
  }
  const missed = [];
  console.log(`${rows} x ${cols}, ratios to fp16 of the same run`);
  printLine(["tokens", "contender", "ms", "GFLOP/s", "of peak", "GB/s", "of read", "x fp16", "marks"]);
  for (const [tokens, medians] of byTokens) {
    for (const name of Object.keys(weightBytes)) {
      const row = rowOf({ tokens, name, medians, weights: rows * cols });
      missed.push(...row.missed);
      printLine(row.cells);
    }
    const { peak, read } = medians;
    console.log(`        limits: ${peak.toFixed(0)} GFLOP/s of FP32 multiply-adds, ${read.toFixed(1)} GB/s`);
  }
  return missed;
}

function rowOf({ tokens, name, medians, weights }) {
  const seconds = medians[name];
  const gflops = (2 * tokens * weights) / seconds / 1e9;
  const gigabytes = (weights * weightBytes[name]) / seconds / 1e9;
  const rates = {
    ofPeak: gflops / medians.peak,
    ofRead: gigabytes / medians.read,
    ratio: medians.fp16 / seconds,
  };
  const checks = marksOf(tokens, name, rates);
  const cells = [
    String(tokens),
    name,
    (seconds * 1e3).toFixed(2),
    gflops.toFixed(1),
    percent(rates.ofPeak),
    gigabytes.toFixed(1),
    percent(rates.ofRead),
    rates.ratio.toFixed(2),
    checks.map(({ text, reached }) => `${text} ${reached ? "reached" : "MISSED"}`).join(", "),
  ];
  const missed = checks
    .filter(({ reached }) => !reached)
    .map(({ text }) => `${tokens} tokens, ${name}: ${text}`);
  return { cells, missed };
}

function marksOf(tokens, name, { ofPeak, ofRead, ratio }) {
  const checks = [];
  const mark = (text, value, least) => checks.push({ text, reached: value >= least });
  if (tokens >= manyTokens && name === "fp16") mark(`${percent(marks.ofPeak)} of peak`, ofPeak, marks.ofPeak);
  if (tokens !== 1) return checks;
  const most = { "nested-fp8": marks.fp8OverFp16, "nested-fp16": marks.nestedOverFp16 }[name];
  if (most === undefined) return checks;
  mark(`${most} x fp16`, ratio, most);
  mark(`${percent(marks.ofRead)} of read`, ofRead, marks.ofRead);
  return checks;
}

function percent(part) {
  return `${Math.round(part * 100)} %`;
}

function printLine(cells) {
  const widths = [-6, 16, -9, -8, -7, -6, -7, -6];
  const padded = cells.map((cell, k) =>
    widths[k] < 0 ? cell.padStart(-widths[k]) : cell.padEnd(widths[k] ?? 0),
  );
  console.log(padded.join("  ").trimEnd());
}

if (argv[1] === fileURLToPath(import.meta.url)) await main();

async function main() {
  if (argv.includes("--memory")) {
    await import("./eval-memory.mjs");
    return;
  }
  const { values } = parseArgs({
    options: {
      threads: { type: "string", default: String(cpus().length) },
      implementation: { type: "string" },
      samples: { type: "string", default: "11" },
      tokens: { type: "string", default: "1,4,16,64,256,512" },
      rows: { type: "string", default: "14336" },
      cols: { type: "string", default: "4096" },
    },
  });
  console.log(
    `${cpus()[0]?.model}, ${values.threads} threads, ${values.implementation ?? "best implementation"}, medians of ${values.samples} samples`,
  );
  const missed = benchKernels({ ...values });
  console.log(missed.length === 0 ? "all marks reached" : `MISSED: ${missed.join("; ")}`);
}

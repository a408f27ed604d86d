// Speed of the codec's kernels in the cache, one thread, beside memcpy on a buffer of the same size:
//     node test/bench/codec.mjs [--size BYTES]... [--samples N]
// GB/s count the bytes of source words. 256 KiB of words and 256 KiB of planes lie in the second-level cache, where
// the blocks of a conversion are at best; the first-level cache is too small for them.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const release = fileURLToPath(new URL("../../native/build/Release/", import.meta.url));

/** What an implementation with vectors must reach: GB/s, or a part of memcpy, whichever is higher. */
const marks = {
  decompose: { least: 12, ofMemcpy: 0.3 },
  reconstruct: { least: 25, ofMemcpy: 0.5 },
  "scan BF16": { least: 5, ofMemcpy: 0 },
  crc32: { least: 10, ofMemcpy: 0 },
};

const { values: options } = parseArgs({
  options: {
    size: { type: "string", multiple: true, default: [String(256 * 1024)] },
    samples: { type: "string", default: "200" },
  },
});

/** Rows {implementation, operation, best, median} of the C++ program. */
function measureKernels(size) {
  const output = execFileSync(`${release}codec_bench`, ["--size", size, "--samples", options.samples], {
    encoding: "utf8",
  });
  return output
    .trim()
    .split("\n")
    .map((line) => {
      const [implementation, operation, best, median] = line.split("\t");
      return { implementation, operation, best: Number(best), median: Number(median) };
    });
}

/** SHA-256 needs the OpenSSL inside node, so it is timed through the addon, 8 MiB a sample. */
async function measureSha256(size) {
  const { Pool } = createRequire(import.meta.url)(`${release}nestedfp.node`);
  const pool = new Pool(1, "scalar");
  const block = new Uint8Array(Number(size));
  const updates = Math.ceil(2 ** 23 / block.length);
  const rates = [];
  for (let sample = -2; sample < 20; sample++) {
    const hash = pool.sha256();
    if (hash === null) return [];
    const start = process.hrtime.bigint();
    for (let n = 0; n < updates; n++) hash.update(block);
    await hash.digest();
    if (sample >= 0) rates.push((updates * block.length) / Number(process.hrtime.bigint() - start));
  }
  pool.close();
  rates.sort((a, b) => a - b);
  return [{ implementation: "openssl", operation: "sha256", best: rates.at(-1), median: rates[10] }];
}

function markOf({ implementation, operation, best }, memcpy) {
  const mark = marks[operation];
  if (mark === undefined || implementation === "scalar") return "";
  const least = Math.max(mark.least, mark.ofMemcpy * memcpy);
  return `${best >= least ? "reached" : "MISSED"}, mark ${least.toFixed(1)}`;
}

function print(rows) {
  const memcpy = rows.find(({ operation }) => operation === "memcpy").best;
  const line = (cells) => {
    const widths = [14, -13, -9, -9, -9];
    const padded = cells.map((cell, k) =>
      widths[k] < 0 ? cell.padStart(-widths[k]) : cell.padEnd(widths[k] ?? 0),
    );
    console.log(padded.join("  ").trimEnd());
  };
  line(["operation", "implementation", "best", "median", "x memcpy", ""]);
  for (const row of [...rows].sort((a, b) => a.operation.localeCompare(b.operation) || b.best - a.best)) {
    const { operation, implementation, best, median } = row;
    const ratio = (best / memcpy).toFixed(2);
    line([operation, implementation, best.toFixed(2), median.toFixed(2), ratio, markOf(row, memcpy)]);
  }
}

console.log(`${cpus()[0]?.model}, Node ${process.version}, one thread, ${options.samples} samples`);
for (const size of options.size) {
  console.log(`\nblocks of ${Number(size) / 1024} KiB of source words, GB/s`);
  print([...measureKernels(size), ...(await measureSha256(size))]);
}

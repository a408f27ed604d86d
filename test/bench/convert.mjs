// Measures `nestedfp convert` against cp + openssl, its memory, the codec alone and the start of the command line.
// Usage: npm run bench:convert [-- --gib 2 --rounds 3 --dir DIR --keep]
// Writes a synthetic FP16 checkpoint, about five times its size at the peak, to a temporary directory.
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runMeasured } from "./peak-memory.mjs";
import { normalHalves } from "./synthetic-llama.mjs";

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
    dir: { type: "string", default: tmpdir() },
    keep: { type: "boolean", default: false },
    "tensor-gib": { type: "string", default: "3" },
  },
});
const gib = Number(values.gib);
const rounds = Number(values.rounds);
const root = fileURLToPath(new URL("../../", import.meta.url));
const binary = join(root, "bin/nestedfp.js");
const GiB = 2 ** 30;

const work = mkdtempSync(join(values.dir, "nestedfp-bench-"));
try {
  await main();
} finally {
  if (!values.keep) rmSync(work, { recursive: true, force: true });
}

async function main() {
  console.log(
    `${cpus()[0].model}, ${availableParallelism()} cores, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
  );
  const source = join(work, "source");
  console.log(`\n${gib} GiB of normal FP16 weights in 512 MiB shards`);
  makeCheckpoint(source, Array(Math.round(gib * 2)).fill(GiB / 2), 8);
  await conversions(source);
  if (!values.keep) rmSync(source, { recursive: true });

  const one = join(work, "one-tensor");
  const tensorGib = Number(values["tensor-gib"]);
  makeCheckpoint(one, [tensorGib * GiB], 1);
  const { peakMiB, seconds } = await nestedfp(["convert", one, "-o", join(work, "one-out")]);
  console.log(
    `\none tensor of ${tensorGib} GiB, --verify full: peak RSS ${peakMiB.toFixed(0)} MiB (mark: 300), ${seconds.toFixed(1)} s`,
  );
  if (!values.keep) rmSync(one, { recursive: true });
  rmSync(join(work, "one-out"), { recursive: true });

  startTime();
  console.log("\ncodec alone, one core");
  execFileSync(process.execPath, [join(root, "test/bench/codec.mjs")], { stdio: "inherit" });
}

/** Runs the peers and both modes one after another, several rounds, and compares medians of the same rounds. */
async function conversions(source) {
  const rows = [];
  for (let round = 0; round < rounds; round++) {
    const out = join(work, "out");
    const copy = join(work, "copy");
    read(source);
    settle();
    const none = await nestedfp(["convert", source, "-o", out, "--verify", "none"]);
    settle();
    const cp = timed("cp", ["-r", source, copy]);
    const digest = timed("sh", [
      "-c",
      'openssl dgst -sha256 "$1"/*.safetensors "$2"/*.safetensors "$2"/nestedfp/*.nfp > /dev/null',
      "sh",
      source,
      out,
    ]);
    rmSync(out, { recursive: true });
    rmSync(copy, { recursive: true });
    settle();
    const full = await nestedfp(["convert", source, "-o", out, "--verify", "full"]);
    rmSync(out, { recursive: true });
    rows.push({
      none: none.seconds,
      full: full.seconds,
      cp,
      digest,
      peak: Math.max(none.peakMiB, full.peakMiB),
    });
    const { cp: c, digest: d } = rows.at(-1);
    console.log(
      `round ${round + 1}: cp ${c.toFixed(2)} s + openssl ${d.toFixed(2)} s | none ${none.seconds.toFixed(2)} s = ${(none.seconds / (c + d)).toFixed(2)} x | ` +
        `full ${full.seconds.toFixed(2)} s = ${(full.seconds / (c + d)).toFixed(2)} x | peak RSS ${rows.at(-1).peak.toFixed(0)} MiB`,
    );
  }
  const ratio = (mode) => median(rows.map((row) => row[mode] / (row.cp + row.digest)));
  console.log(
    `median: --verify none ${ratio("none").toFixed(2)} x (mark: 1.0), --verify full ${ratio("full").toFixed(2)} x (mark: 2.0)`,
  );
  console.log(`peak RSS ${Math.max(...rows.map((row) => row.peak)).toFixed(0)} MiB (mark: 300)`);
}

/** A Llama-like checkpoint whose linear weights fill shards of the given sizes, `matrices` to a shard. */
function makeCheckpoint(directory, shardBytes, matrices) {
  mkdirSync(directory, { recursive: true });
  const normals = normalHalves(4 * 2 ** 20);
  const cols = 8192;
  const weightMap = {};
  for (const [i, bytes] of shardBytes.entries()) {
    const rows = bytes / matrices / 2 / cols;
    const file = `model-${String(i + 1).padStart(5, "0")}-of-${String(shardBytes.length).padStart(5, "0")}.safetensors`;
    const header = {};
    for (let m = 0; m < matrices; m++) {
      const name = `model.layers.${i * matrices + m}.self_attn.o_proj.weight`;
      header[name] = {
        dtype: "F16",
        shape: [rows, cols],
        data_offsets: [m * rows * cols * 2, (m + 1) * rows * cols * 2],
      };
      weightMap[name] = file;
    }
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const fd = openSync(join(directory, file), "w");
    writeSync(fd, length);
    writeSync(fd, json);
    for (let written = 0; written < bytes; ) {
      // A different rotation each time, so that no two blocks of the file are alike.
      const start = ((written / 2 ** 20 + i * 7) % 64) << 10;
      const block = normals.subarray(start, start + Math.min(normals.length - start, bytes - written));
      written += writeSync(fd, block);
    }
    closeSync(fd);
  }
  writeFileSync(
    join(directory, "config.json"),
    '{\n  "architectures": ["LlamaForCausalLM"],\n  "torch_dtype": "float16"\n}\n',
  );
  writeFileSync(
    join(directory, "model.safetensors.index.json"),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
}

/** Runs the real binary. */
function nestedfp(argv) {
  return runMeasured(process.execPath, [binary, ...argv, "--quiet"]);
}

function startTime() {
  const help = [];
  const bare = [];
  for (let i = 0; i < 15; i++) {
    bare.push(timed(process.execPath, ["-e", "0"]));
    help.push(timed(process.execPath, [binary, "--help"]));
  }
  const [a, b] = [1000 * median(bare), 1000 * median(help)];
  console.log(
    `\nnestedfp --help ${b.toFixed(0)} ms, node -e 0 ${a.toFixed(0)} ms (mark: ${(1.5 * a + 60).toFixed(0)} ms)`,
  );
}

function timed(command, argv) {
  const started = performance.now();
  execFileSync(command, argv, { stdio: ["ignore", "ignore", "inherit"] });
  return (performance.now() - started) / 1000;
}

/** Brings a directory into the page cache. */
function read(directory) {
  execFileSync("sh", ["-c", 'cat "$1"/* > /dev/null', "sh", directory]);
}

/** Waits for what earlier steps wrote, so that nobody pays for another's write-back. */
function settle() {
  execFileSync("sync");
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

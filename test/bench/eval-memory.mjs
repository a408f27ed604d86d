// Peak memory of `nestedfp eval` on a model larger than --max-memory, and that its result is the same to the last bit:
//     npm run bench:eval -- --memory [--gib 2.5 --max-memory 1200M --tokens 512 --dir DIR --keep]
// Writes a synthetic FP16 checkpoint and its conversion, twice its size, to a temporary directory.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runMeasured } from "./peak-memory.mjs";
import { writeSyntheticLlama } from "./synthetic-llama.mjs";

const binary = fileURLToPath(new URL("../../bin/nestedfp.js", import.meta.url));

const { values } = parseArgs({
  options: {
    memory: { type: "boolean" },
    gib: { type: "string", default: "2.5" },
    "max-memory": { type: "string", default: "1200M" },
    tokens: { type: "string", default: "512" },
    dir: { type: "string", default: tmpdir() },
    keep: { type: "boolean", default: false },
  },
});

const work = mkdtempSync(join(values.dir, "nestedfp-bench-"));
const cases = [
  ["converted", "nested-fp16,nested-fp8"],
  ["converted", "fp16"],
  ["converted", "fp16,nested-fp16,nested-fp8,fp8"],
  ["source", "fp16,fp8"],
];

try {
  const source = join(work, "source");
  const layers = writeSyntheticLlama(source, Number(values.gib) * 2 ** 30);
  execFileSync(process.execPath, [binary, "convert", source, "-o", join(work, "converted"), "-q"]);
  const ids = join(work, "ids.json");
  const sequence = Array.from({ length: Number(values.tokens) }, (_, i) => (i * 7919) % 8192);
  writeFileSync(ids, JSON.stringify({ input_ids: [sequence] }));
  console.log(`${layers} layers, ${mebibytes(source)} MiB of weights, ${values.tokens} tokens`);
  for (const [model, precisions] of cases) await measure(model, precisions, ids);
} finally {
  if (!values.keep) rmSync(work, { recursive: true, force: true });
}

async function measure(model, precisions, ids) {
  const run = (limit) =>
    runMeasured(
      process.execPath,
      [
        ...[binary, "eval", join(work, model), "--token-ids", ids, "--precision", precisions],
        ...["--max-memory", limit, "--per-token", "--json"],
      ],
      { env: { ...process.env, XDG_CACHE_HOME: join(work, "cache") } },
    );
  const bound = await run(values["max-memory"]);
  const free = await run("1T");
  const result = ({ stdout }) => JSON.stringify(JSON.parse(stdout).result);
  const same = result(bound) === result(free) ? "the same result" : "ANOTHER RESULT";
  const figures = ({ peakMiB, seconds }) => `${peakMiB.toFixed(0)} MiB, ${seconds.toFixed(1)} s`;
  console.log(
    `${model}, ${precisions}: ${figures(bound)} under --max-memory ${values["max-memory"]}; ${figures(free)} without a limit; ${same}`,
  );
}

function mebibytes(directory) {
  const bytes = readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
  return Math.round(bytes / 2 ** 20);
}

// Builds the cubins whose sources or flags changed: kernels/build/<name>.cubin of every kernels/instances/<name>.cu,
// and one of every row of interface/configs.h from a file that asks for NESTEDFP_INSTANCE.
// node kernels/build.mjs [name ...] [--instances DIR] [--out DIR]
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { cpus } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const kernels = dirname(fileURLToPath(import.meta.url));

const flags = [
  "-cubin",
  "-gencode=arch=compute_90a,code=sm_90a",
  "-std=c++20",
  "-O3",
  "--expt-relaxed-constexpr",
  "--resource-usage",
];

/** NVCC alone when it is set, else PATH, else the toolkit's own folder; undefined when none starts. */
function findNvcc() {
  const places =
    process.env.NVCC === undefined
      ? ["nvcc", join(process.env.CUDA_HOME ?? "/usr/local/cuda", "bin/nvcc")]
      : [process.env.NVCC];
  for (const command of places) {
    const run = spawnSync(command, ["--version"], { encoding: "utf8" });
    if (run.error === undefined && run.status === 0) {
      return { command, version: run.stdout.trim().split("\n").at(-1) };
    }
  }
  return undefined;
}

/** The files that a makefile rule written by nvcc names after its target. */
function dependenciesOf(rule) {
  return rule
    .slice(rule.indexOf(":") + 1)
    .split(/\\\n|(?<!\\)\s/)
    .map((path) => path.trim().replaceAll("\\ ", " "))
    .filter((path) => path !== "");
}

/** Built by this very command, after the last change of every source. */
function isFresh({ cubin, rule, stamp }, command) {
  if (![cubin, rule, stamp].every(existsSync) || readFileSync(stamp, "utf8") !== command) return false;
  const built = statSync(cubin).mtimeMs;
  return dependenciesOf(readFileSync(rule, "utf8")).every(
    (path) => existsSync(path) && statSync(path).mtimeMs <= built,
  );
}

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (text) => {
      output += text;
    });
    child.stderr.on("data", (text) => {
      output += text;
    });
    child.on("error", (error) => resolve({ status: 1, output: `${error.message}\n` }));
    child.on("close", (status) => resolve({ status, output }));
  });
}

/** What ptxas says of each entry point: registers, static shared memory, spilled bytes. */
function resourcesOf(output) {
  const resources = [];
  let entry;
  for (const line of output.split("\n")) {
    entry = /Function properties for (\S+)/.exec(line)?.[1] ?? entry;
    const spills = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills) resources.push({ entry, spills: Number(spills[1]) + Number(spills[2]) });
    const used = /Used (\d+) registers/.exec(line);
    const last = resources.at(-1);
    if (used && last) {
      last.registers = Number(used[1]);
      last.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    }
  }
  return resources;
}

/** The names of the rows of the one table of configurations. */
function configNames() {
  const table = readFileSync(join(kernels, "interface/configs.h"), "utf8");
  return [...table.matchAll(/^ +X\((\w+),/gm)].map(([, name]) => name);
}

/** What a source file is compiled to. */
function unitsOf(source) {
  if (!readFileSync(source, "utf8").includes("NESTEDFP_INSTANCE")) {
    return [{ name: basename(source, ".cu"), source, defines: [] }];
  }
  return configNames().map((name) => ({ name, source, defines: [`-DNESTEDFP_INSTANCE=${name}`] }));
}

async function build(nvcc, { name, source, defines }, out) {
  const files = {
    cubin: join(out, `${name}.cubin`),
    rule: join(out, `${name}.d`),
    stamp: join(out, `${name}.command`),
  };
  const command = `${nvcc.version}\n${[...flags, ...defines].join(" ")}\n`;
  if (isFresh(files, command)) return { name, isFresh: true, isBuilt: true, report: "" };
  rmSync(files.cubin, { force: true });
  const temporary = `${files.cubin}.tmp`;
  const { status, output } = await run(nvcc.command, [
    ...flags,
    ...defines,
    "-MD",
    "-MF",
    files.rule,
    source,
    "-o",
    temporary,
  ]);
  const resources = resourcesOf(output);
  const lines = resources.map(
    ({ entry, registers, shared, spills }) =>
      `${entry}: ${registers} registers, ${shared} bytes static shared, ${spills} bytes spilled`,
  );
  const isNote = /warning|error|advisory|Potential Performance Loss|injected in/i;
  const notes = output.split("\n").filter((line) => isNote.test(line));
  const report = [...lines, ...(status === 0 ? notes : [output.trim()])].join("\n");
  const hasSpills = resources.some(({ spills }) => spills > 0);
  // ptxas says so as information: each wgmma then waits for the one before.
  const isSerialised = /wgmma\.mma_async instructions are serialized/.test(output);
  const why = hasSpills ? "spills" : isSerialised ? "its wgmma are serialised" : "nvcc failed";
  if (status !== 0 || hasSpills || isSerialised) {
    rmSync(temporary, { force: true });
    return { name, isBuilt: false, report: `${report}\n${name}: ${why}` };
  }
  renameSync(temporary, files.cubin);
  writeFileSync(files.stamp, command);
  return { name, isBuilt: true, report };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    instances: { type: "string", default: join(kernels, "instances") },
    out: { type: "string", default: join(kernels, "build") },
  },
});

const nvcc = findNvcc();
if (nvcc === undefined) {
  console.log(
    "kernels/build.mjs: skipped: nvcc not found (set NVCC, or put nvcc of CUDA 12.8 or later on PATH)",
  );
  process.exit(0);
}

const available = readdirSync(values.instances)
  .filter((file) => file.endsWith(".cu"))
  .flatMap((file) => unitsOf(join(values.instances, file)));
const unknown = positionals.filter((name) => !available.some((unit) => unit.name === name));
if (unknown.length > 0) {
  console.error(`kernels/build.mjs: ${values.instances} has no ${unknown.join(", ")}`);
  process.exit(1);
}
const units = available.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
mkdirSync(values.out, { recursive: true });
// What no source asks for any more would be shipped.
for (const file of readdirSync(values.out)) {
  const isKnown = available.some(({ name }) => file.startsWith(`${name}.`));
  if (/\.(cubin|d|command)$/.test(file) && !isKnown) rmSync(join(values.out, file));
}

const results = [];
const queue = [...units];
async function work() {
  for (let unit = queue.shift(); unit !== undefined; unit = queue.shift()) {
    const result = await build(nvcc, unit, values.out);
    if (result.report !== "") console.log(result.report);
    results.push(result);
  }
}
await Promise.all(Array.from({ length: Math.min(cpus().length, units.length) }, work));

const failed = results.filter(({ isBuilt }) => !isBuilt).map(({ name }) => name);
const fresh = results.filter((result) => result.isFresh).length;
console.log(
  `kernels/build.mjs: ${results.length - failed.length - fresh} built, ${fresh} up to date, ${failed.length} failed`,
);
if (failed.length > 0) {
  console.error(`kernels/build.mjs: failed: ${failed.sort().join(", ")}`);
  process.exit(1);
}

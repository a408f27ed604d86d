// Checks the format of the C++ and CUDA sources, or mends it: node native/format.mjs [--write]
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const sources = { native: /\.(cc|h)$/, kernels: /\.(cu|cuh|h)$/ };

const files = Object.entries(sources).flatMap(([folder, pattern]) => {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true })
    .filter((file) => pattern.test(file) && !file.startsWith("build"))
    .map((file) => join(folder, file));
});

const mode = process.argv.includes("--write") ? ["-i"] : ["--dry-run", "--Werror"];
const run = spawnSync(join(root, "node_modules/.bin/clang-format"), ["--style=file", ...mode, ...files], {
  cwd: root,
  stdio: "inherit",
});
if (run.error !== undefined)
  console.error(`native/format.mjs: clang-format did not start, ${run.error.message}`);
process.exit(run.status ?? 1);

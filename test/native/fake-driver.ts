import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { loadAddon } from "../../src/native/addon.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

export type FakeRun = { readonly results: unknown[]; readonly log: readonly string[] };

/** @returns a folder with a driver without a device (fake_cuda.cc), which goes with the test file */
export function compileFakeDriver(): string {
  const folder = mkdtempSync(join(tmpdir(), "nestedfp-fake-cuda-"));
  after(() => rmSync(folder, { recursive: true }));
  const source = join(root, "test/native/fake_cuda.cc");
  const library = join(folder, "libcuda.so.1");
  execFileSync("g++", ["-std=c++20", "-shared", "-fPIC", "-I", join(root, "native"), source, "-o", library]);
  return folder;
}

/**
 * That driver, and empty kernels for every name. The returned function runs the body of an async function in a node of its own that finds that driver; what it
 * hands to `emit` comes back, with the driver's log.
 */
export function fakeDriver(): (body: string, environment?: Record<string, string>) => FakeRun {
  const folder = compileFakeDriver();
  const kernels = join(folder, "kernels");
  mkdirSync(kernels);
  for (const name of [
    "ops",
    ...loadAddon()
      .cudaGemmConfigs()
      .map((config) => config.name),
  ]) {
    writeFileSync(join(kernels, `${name}.cubin`), "no kernel");
  }
  return (body, environment = {}) => {
    const log = join(folder, "log");
    writeFileSync(log, "");
    const script = `
      const { createCudaBenchDevice } = await import(${JSON.stringify(pathToFileURL(join(root, "src/bench/cuda-device.ts")))});
      const { loadAddon } = await import(${JSON.stringify(pathToFileURL(join(root, "src/native/addon.ts")))});
      const kernels = ${JSON.stringify(kernels)};
      const results = [];
      const emit = (value) => results.push(value);
      ${body}
      process.stdout.write(JSON.stringify(results));`;
    const run = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, LD_LIBRARY_PATH: folder, FAKE_CUDA_LOG: log, ...environment },
    });
    if (run.status !== 0) throw new Error(`the child ended with ${run.status}: ${run.stderr}`);
    return { results: JSON.parse(run.stdout), log: readFileSync(log, "utf8").split("\n") };
  };
}

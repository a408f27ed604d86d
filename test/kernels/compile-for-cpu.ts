import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));

/**
 * Compiles a program of this folder that includes device code of kernels/ and defines what kernels/ptx does on a GPU.
 * @param optimisation what is the sooner ready: compiling takes most of the time
 * @returns its path, in a folder that goes with the test file
 */
export function compileForCpu(source: string, optimisation: "-O0" | "-O1"): string {
  const folder = mkdtempSync(join(tmpdir(), "nestedfp-for-cpu-"));
  after(() => rmSync(folder, { recursive: true }));
  for (const name of ["gemm", "interface", "nested"]) {
    cpSync(join(kernels, name), join(folder, name), { recursive: true });
  }
  mkdirSync(join(folder, "ptx"));
  for (const name of ["grid", "matrix", "mbarrier", "tma", "wgmma"]) {
    writeFileSync(join(folder, "ptx", `${name}.cuh`), "#pragma once\n");
  }
  const program = join(folder, "program");
  const path = fileURLToPath(new URL(source, import.meta.url));
  execFileSync("g++", [optimisation, "-std=c++20", "-I", folder, path, "-o", program]);
  return program;
}

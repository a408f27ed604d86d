import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/** Runs a command; its peak RSS is the kernel's high-water mark, read until the process ends. */
export async function runMeasured(command, argv, options = {}) {
  const started = performance.now();
  const child = spawn(command, argv, { stdio: ["ignore", "pipe", "inherit"], ...options });
  const output = [];
  child.stdout.on("data", (bytes) => output.push(bytes));
  let peakMiB = 0;
  const poll = setInterval(() => {
    peakMiB = Math.max(peakMiB, Number(/VmHWM:\s+(\d+)/.exec(statusOf(child.pid))?.[1] ?? 0) / 1024);
  }, 20);
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearInterval(poll);
  if (code !== 0) throw new Error(`${argv.join(" ")} exited with ${code}`);
  return { seconds: (performance.now() - started) / 1000, peakMiB, stdout: Buffer.concat(output).toString() };
}

function statusOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return ""; // it has ended
  }
}

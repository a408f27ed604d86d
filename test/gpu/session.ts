import { after, type TestContext, test } from "node:test";

import { loadAddon } from "../../src/native/addon.ts";
import type { NativeCudaSession } from "../../src/native/binding.ts";
import { kernelsFolder, probeCuda } from "../../src/native/cuda-probe.ts";

/** Why nothing can run on a GPU here; false where it can. */
function whyNot(): string | false {
  const { gpus, kernels } = probeCuda();
  if (!gpus.some(({ computeCapability }) => computeCapability === "9.0")) return "no CUDA device";
  const missing = kernels?.missing ?? [];
  return missing.length > 0 && `kernels not built: ${missing.join(", ")}`;
}

const skip = whyNot();
const session = skip === false ? new (loadAddon().CudaSession)(0, kernelsFolder) : undefined;
after(() => session?.close());

/** A test on the first GPU, skipped aloud where there is none. */
export function gpuTest(
  title: string,
  body: (gpu: NativeCudaSession, t: TestContext) => Promise<void>,
): void {
  test(title, { skip }, async (t) => {
    if (session !== undefined) await body(session, t);
  });
}

import type { CudaProbe } from "../native/cuda-probe.ts";
import type { Finding } from "./finding.ts";

/** What the kernels are built for. */
const builtFor = "9.0";

/** Nothing of CUDA is needed to convert, verify and evaluate, so what is missing is a warning. */
export function checkCuda(probe: CudaProbe | undefined): Finding[] {
  if (probe === undefined) {
    return [
      warning("cuda", "CUDA support is not in this build", "build a version of nestedfp with CUDA kernels"),
    ];
  }
  const { driver, gpus, kernels, cublaslt, nvml, error } = probe;
  if (driver === undefined) {
    return [
      warning(
        "driver",
        error ?? "libcuda.so.1 cannot be opened",
        "install the NVIDIA driver; nvidia-smi shows it",
      ),
    ];
  }
  return [
    { name: "driver", status: "ok", detail: driver },
    ...(gpus.length === 0
      ? [warning("gpu", error ?? "the driver shows no GPU", "nvidia-smi -L; check CUDA_VISIBLE_DEVICES")]
      : gpus.map(checkGpu)),
    ...(gpus.length > 0 && kernels !== undefined ? [checkCubins(kernels)] : []),
    cublaslt === undefined
      ? warning(
          "cublaslt",
          "libcublasLt cannot be opened: no baseline to compare with",
          "install CUDA 12 or 13, or pip install nvidia-cublas-cu12 and set LD_LIBRARY_PATH",
        )
      : { name: "cublaslt", status: "ok", detail: cublaslt },
    nvml === undefined
      ? warning(
          "nvml",
          "libnvidia-ml.so.1 cannot be opened: clocks and power are not recorded",
          "install the NVIDIA driver's utilities, nvidia-smi among them",
        )
      : { name: "nvml", status: "ok", detail: nvml },
  ];
}

function checkGpu(
  { name, computeCapability, memoryBytes }: CudaProbe["gpus"][number],
  index: number,
): Finding {
  const gibibytes = (memoryBytes / 1024 ** 3).toFixed(1);
  const detail = `cuda:${index} ${name}, compute capability ${computeCapability}, ${gibibytes} GiB`;
  if (computeCapability === builtFor) return { name: "gpu", status: "ok", detail };
  return warning(
    "gpu",
    `${detail}: the kernels are built for ${builtFor}`,
    "use an H100 or H200, or --device cpu",
  );
}

/** Whether a GPU is there that the kernels are built for. */
export function hasUsableGpu(probe: CudaProbe | undefined): boolean {
  return probe?.gpus.some(({ computeCapability }) => computeCapability === builtFor) ?? false;
}

function checkCubins({ folder, missing }: NonNullable<CudaProbe["kernels"]>): Finding {
  if (missing.length === 0) return { name: "cubins", status: "ok", detail: folder };
  const [first] = missing;
  const which = missing.length === 1 ? first : `${first} and ${missing.length - 1} more`;
  return warning(
    "cubins",
    `compiled kernels are missing in ${folder}: ${which}`,
    "npm run build:kernels; it needs nvcc of CUDA 12.8 or later",
  );
}

function warning(name: string, detail: string, mend: string): Finding {
  return { name, status: "warn", detail, mend };
}

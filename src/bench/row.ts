import type { Precision } from "../device/device.ts";

/** ok: correct and timed. incorrect: not timed. error: it threw. unsupported: the device has no such kernel here. */
export type RowStatus = "ok" | "incorrect" | "error" | "unsupported";

/** One kernel in one configuration at one shape and M. Times are of one launch, over the samples that were kept. */
export type BenchRow = {
  readonly kernel: Precision;
  readonly config: string | null;
  /** Names of the layers of this shape. */
  readonly shape: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly median_us: number | null;
  readonly q1_us: number | null;
  readonly q3_us: number | null;
  readonly samples: number;
  readonly samples_us: readonly number[];
  /** Quantising the activations, timed apart; only where the kernel needs it. */
  readonly quantise_us?: number;
  readonly median_with_quantise_us?: number;
  /** 2 m n k / median. */
  readonly tflops: number | null;
  /** Weights, activations and output, each moved once, over the median. */
  readonly gb_s: number | null;
  /** Median of fp16 at this point / this median: above 1 is faster. */
  readonly vs_fp16: number | null;
  /** rel_err is null when it is not finite. */
  readonly check: {
    readonly ok: boolean;
    readonly rel_err: number | null;
    readonly bitwise?: boolean;
  } | null;
  readonly status: RowStatus;
  readonly error?: string;
  /** Of what was launched, where the device tells: blocks and cuts of a kernel of our own, a library's algorithm. */
  readonly details?: string;
  /** Why sampling ended: the noise fell below --max-noise, or --timeout. */
  readonly stopped_by: "noise" | "timeout" | null;
  /** Launches back to back in one sample. */
  readonly launches: number;
  /** Medians over the kept samples; null where the device does not tell. */
  readonly sm_clock_mhz: number | null;
  readonly memory_clock_mhz: number | null;
  readonly power_w: number | null;
  readonly temperature_c: number | null;
  /** Whether a kept sample was taken under any throttle reason. */
  readonly throttled: boolean;
  /** Of kept samples, by reason. */
  readonly throttle_reasons: Readonly<Record<string, number>>;
  /** Samples thrown away because the hardware slowed down for heat or power supply. */
  readonly discarded: number;
};

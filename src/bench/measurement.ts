import type { BenchLayer, Contender, DeviceState } from "./bench-device.ts";
import { noiseOf, quartilesOf } from "./stats.ts";

export type SamplingSettings = {
  /** Kept samples before the noise may end the sampling. */
  readonly minSamples: number;
  /** Interquartile range over median. */
  readonly maxNoise: number;
  /** Of sampling one kernel at one point. */
  readonly timeoutSeconds: number;
  readonly cold: boolean;
  /** Rotating through the contenders without keeping samples, before sampling begins. */
  readonly warmUpSeconds: number;
  /** Milliseconds of a clock that only goes forward. */
  readonly clock: () => number;
};

/** One sample and the state of the device before and after it. */
type Sample = { readonly us: number; readonly state: DeviceState; readonly reasons: readonly string[] };

// A sample of some launches averages over the timer's resolution and hides the latency of a launch.
const sampleUs = 2000;
const mostLaunches = 1000;
// Beyond what one time differs from the next.
const muchMore = 1.5;

/** The device slowed down for heat or power supply: not its speed, so such samples are thrown away. */
const slowdowns: readonly string[] = [
  "hw_slowdown",
  "hw_thermal_slowdown",
  "hw_power_brake_slowdown",
  "sw_thermal_slowdown",
];

/** The samples of one contender at one point. */
export class Measurement {
  readonly contender: Contender;
  readonly #layer: BenchLayer;
  readonly #m: number;
  readonly #settings: SamplingSettings;
  readonly #clean: Sample[] = [];
  readonly #slowed: Sample[] = [];
  readonly #quantise: number[] = [];
  #launches = 1;
  #spentMs = 0;
  #quiet = false;

  constructor(contender: Contender, layer: BenchLayer, m: number, settings: SamplingSettings) {
    this.contender = contender;
    this.#layer = layer;
    this.#m = m;
    this.#settings = settings;
  }

  get launches(): number {
    return this.#launches;
  }

  /** Runs once for what only the first launch costs, then chooses how many launches make a sample. */
  async warmUp(): Promise<void> {
    await this.#time(1);
    // One launch alone may be mostly latency: contenders with fewer launches in a sample would carry more of it in
    // each. So the choice is made again with as many as it gave, until they do not ask for many more.
    for (;;) {
      const us = await this.#time(this.#launches);
      if (!this.#takesMore(us)) return;
    }
  }

  /**
   * A sample that warms clocks and caches up and is not kept. While the launches were chosen the machine may have
   * paused: too few of them would then carry more latency than the peers' in every sample.
   */
  async rotate(): Promise<void> {
    this.#takesMore(await this.#time(this.#launches));
  }

  /** Puts many more launches into a sample, if it takes so many of so many microseconds. */
  #takesMore(us: number): boolean {
    const launches = Math.min(mostLaunches, Math.ceil(sampleUs / us));
    if (launches <= muchMore * this.#launches) return false;
    this.#launches = launches;
    return true;
  }

  /** Takes one sample; `state` reads the device after it. */
  async sample(before: DeviceState, state: () => Promise<DeviceState>): Promise<DeviceState> {
    const start = this.#settings.clock();
    const us = await this.#time(this.#launches);
    const after = await state();
    const reasons = [...new Set([...before.throttleReasons, ...after.throttleReasons])];
    const slowed = reasons.some((reason) => slowdowns.includes(reason));
    (slowed ? this.#slowed : this.#clean).push({ us, state: after, reasons });
    const quantise = await this.#layer.timeQuantiser(this.contender, this.#m, this.#launches);
    if (quantise !== undefined) this.#quantise.push(quantise);
    this.#spentMs += this.#settings.clock() - start;
    this.#quiet = this.#isQuiet();
    return after;
  }

  get timedOut(): boolean {
    return this.#spentMs >= 1000 * this.#settings.timeoutSeconds;
  }

  /** Enough samples, and little noise among them. */
  get quiet(): boolean {
    return this.#quiet;
  }

  get quantiseUs(): readonly number[] {
    return this.#quantise;
  }

  /** What was kept; samples of a slowed device only when too few others were had until the time-out. */
  get kept(): { readonly samples: readonly Sample[]; readonly discarded: number } {
    if (this.#clean.length >= this.#settings.minSamples) {
      return { samples: this.#clean, discarded: this.#slowed.length };
    }
    return { samples: [...this.#clean, ...this.#slowed], discarded: 0 };
  }

  #isQuiet(): boolean {
    const { minSamples, maxNoise } = this.#settings;
    if (this.#clean.length < minSamples) return false;
    return noiseOf(quartilesOf(this.#clean.map(({ us }) => us))) <= maxNoise;
  }

  async #time(launches: number): Promise<number> {
    const us = await this.#layer.time(this.contender, this.#m, launches, this.#settings.cold);
    if (us > 0 && Number.isFinite(us)) return us;
    throw new Error(`${this.contender.config} was timed at ${us} microseconds`);
  }
}

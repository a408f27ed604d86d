import type { BenchDevice, Check, Contender, DeviceState } from "../../src/bench/bench-device.ts";
import type { BenchSettings } from "../../src/bench/runner.ts";
import type { Precision } from "../../src/device/device.ts";

/** What a contender does: one sample after another (the last for ever), in microseconds per launch. */
export type Script = {
  readonly config?: string;
  readonly us: readonly number[];
  readonly check?: Check;
  readonly quantiseUs?: number;
  /** Thrown by check. */
  readonly failure?: string;
};

export type FakeOptions = {
  readonly scripts: Readonly<Partial<Record<Precision, readonly Script[]>>>;
  /** State after sample i of the whole device. */
  readonly states?: readonly DeviceState[];
  /** Thrown by layer() for this N. */
  readonly layerFailure?: { readonly n: number; readonly message: string };
};

const idle: DeviceState = { throttleReasons: [] };

/** A device of scripted times that moves its own clock, and keeps a log of what was asked of it. */
export class FakeDevice implements BenchDevice {
  readonly info = { kind: "cuda", name: "Fake GPU", driver: "1.0", libraries: { cublaslt: "13.1" } } as const;
  readonly log: string[] = [];
  readonly #options: FakeOptions;
  readonly #asked = new Map<string, number>();
  #milliseconds = 0;
  #states = 0;

  constructor(options: FakeOptions) {
    this.#options = options;
  }

  readonly clock = (): number => this.#milliseconds;

  async state(): Promise<DeviceState> {
    const { states = [] } = this.#options;
    return states[this.#states++] ?? states.at(-1) ?? idle;
  }

  async layer(n: number, k: number, kernels: readonly Precision[], maxM: number) {
    this.log.push(`layer ${n}x${k} ${kernels} up to ${maxM}`);
    const { layerFailure } = this.#options;
    if (layerFailure?.n === n) throw new Error(layerFailure.message);
    return {
      contenders: (kernel: Precision) => this.#scripts(kernel).map((_, i) => this.#contender(kernel, i)),
      check: async (contender: Contender, m: number) => {
        this.log.push(`check ${contender.config} ${m}`);
        const { failure, check = { ok: true, relErr: 0.001 } } = this.#script(contender);
        if (failure !== undefined) throw new Error(failure);
        return check;
      },
      time: async (contender: Contender, _m: number, launches: number, cold: boolean) => {
        this.log.push(`time ${contender.config} x${launches}${cold ? " cold" : ""}`);
        const { us } = this.#script(contender);
        const asked = this.#asked.get(contender.config) ?? 0;
        this.#asked.set(contender.config, asked + 1);
        const time = us[asked] ?? us.at(-1) ?? Number.NaN;
        this.#milliseconds += (time * launches) / 1000;
        return time;
      },
      timeQuantiser: async (contender: Contender) => this.#script(contender).quantiseUs,
      close: () => this.log.push(`close ${n}x${k}`),
    };
  }

  close(): void {
    this.log.push("close");
  }

  #scripts(kernel: Precision): readonly Script[] {
    return this.#options.scripts[kernel] ?? [];
  }

  #contender(kernel: Precision, index: number): Contender {
    return { kernel, config: this.#scripts(kernel)[index]?.config ?? kernel };
  }

  #script({ kernel, config }: Contender): Script {
    const script = this.#scripts(kernel).find((one) => (one.config ?? kernel) === config);
    if (script === undefined) throw new Error(`no script of ${config}`);
    return script;
  }
}

/** Settings on the clock of a fake device. The first two times of a script, or more, choose the launches of a sample. */
export function settingsOf(device: FakeDevice, settings: Partial<BenchSettings> = {}): BenchSettings {
  return {
    minSamples: 4,
    maxNoise: 0.01,
    timeoutSeconds: 1,
    cold: true,
    warmUpSeconds: 0,
    clock: device.clock,
    all: false,
    continueOnError: false,
    signal: new AbortController().signal,
    seed: 1,
    isDone: () => false,
    ...settings,
  };
}

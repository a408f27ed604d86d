import type { Command } from "commander";
import type { CommonOptions } from "./options.ts";
import { addCommonOptions, threadsOption } from "./options.ts";
import type { Finished } from "./run.ts";

type DoctorFlags = CommonOptions & { readonly device: string; readonly threads: number };

export function addDoctor(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("doctor")
    .description("what of nestedfp works on this machine, and what mends the rest; exit 1 if something fails")
    .option("--device <name>", "whose kernels to try: auto, cuda, cuda:I or cpu", "auto")
    .addOption(threadsOption("threads of the CPU device"));
  addCommonOptions(command);
  command.action(async (flags: DoctorFlags) => {
    finish(await doctorCommand(flags), flags);
  });
}

async function doctorCommand({ device, threads }: DoctorFlags): Promise<Finished> {
  const [
    { openBenchDevice, parseDeviceChoice },
    { machineProbes, runDoctor },
    { probeCuda },
    { diagnosisReport },
    { makeDocument },
  ] = await Promise.all([
    import("../bench/open-bench-device.ts"),
    import("../doctor/doctor.ts"),
    import("../native/cuda-probe.ts"),
    import("../report/diagnosis.ts"),
    import("./run.ts"),
  ]);
  const choice = parseDeviceChoice(device);
  const open = () => openBenchDevice(choice, threads, { tuned: async () => [], fp8Sums: "fast" });
  const result = await runDoctor(machineProbes(open, probeCuda));
  return {
    document: makeDocument("doctor", result, { threads }),
    report: diagnosisReport(result),
    exitCode: result.ok ? 0 : 1,
  };
}

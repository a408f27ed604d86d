import type { RunSettings } from "./analyse.ts";
import { openConverted, refuseAbsentLower } from "./converted-directory.ts";
import type { ExportedFile } from "./export-fp8-only.ts";
import { exportFp8Only } from "./export-fp8-only.ts";
import { exportFp16 } from "./export-fp16.ts";
import type { ExistingPolicy } from "./output-directory.ts";
import { OutputDirectory } from "./output-directory.ts";
import { refuseOverlap } from "./source.ts";

/** `fp8-only`: the view that stock engines load. `fp16`: an ordinary FP16 checkpoint. */
export type ExportTarget = "fp8-only" | "fp16";

export type ExportResult = {
  readonly output: string;
  readonly to: ExportTarget;
  readonly files: readonly ExportedFile[];
  readonly seconds: number;
};

/** Writes one of the two views of a converted directory on its own. @throws FormatError, UsageError, MachineError */
export async function exportDirectory(
  path: string,
  to: ExportTarget,
  output: string,
  existing: Exclude<ExistingPolicy, "resume">,
  settings: RunSettings,
): Promise<ExportResult> {
  const started = performance.now();
  const converted = await openConverted(path);
  if (to === "fp16") await refuseAbsentLower(converted);
  await refuseOverlap(path, output);
  const listed = converted.manifest.files.filter((file) => to === "fp16" || file.role !== "lower");
  settings.listener({ type: "total", bytes: listed.reduce((sum, file) => sum + file.size, 0) });
  const directory = await OutputDirectory.open(output, existing, "export");
  try {
    await directory.claim();
    const write = to === "fp16" ? exportFp16 : exportFp8Only;
    const files = await write(converted, directory, settings);
    await directory.finish();
    return { output, to, files, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    await directory.undo();
    throw error;
  }
}

import { isDeepStrictEqual } from "node:util";
import { summarise } from "./analyse.ts";
import type { Problem } from "./check-pair.ts";
import type { Manifest, ManifestTensor } from "./manifest.ts";
import { manifestName } from "./manifest.ts";

/** Whether a manifest contradicts itself: what one part says must follow from the others. */
export function checkManifest(manifest: Manifest): Problem[] {
  const messages = [...checkPairs(manifest), ...checkTensors(manifest)];
  return messages.map((message) => ({ file: manifestName, kind: "manifest", message }));
}

/** Every pair is among the files under its role, and no file is listed twice. */
function checkPairs({ files, source }: Manifest): string[] {
  const messages: string[] = [];
  const roles = new Map<string, string>();
  for (const { path, role } of files) {
    if (roles.has(path)) messages.push(`lists ${JSON.stringify(path)} twice`);
    roles.set(path, role);
  }
  for (const pair of source.files) {
    for (const role of ["upper", "lower"] as const) {
      if (roles.get(pair[role]) === role) continue;
      messages.push(
        `names ${JSON.stringify(pair[role])} as ${role} of a shard, but does not list it as such a file`,
      );
    }
  }
  return messages;
}

function checkTensors({ tensors, restorable, summary }: Manifest): string[] {
  const messages: string[] = [];
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  if (byName.size !== tensors.length) messages.push("lists a tensor twice");
  const odd = tensors.find((tensor) => (tensor.planes === null) === (tensor.reason === null));
  if (odd) messages.push(`has tensor ${JSON.stringify(odd.name)} split and kept at once, or neither`);
  const lost = tensors.find(isLossy);
  if (restorable !== (lost === undefined)) {
    messages.push(`says restorable ${restorable}, against what it says of ${lost?.name ?? "every tensor"}`);
  }
  const decisionOf = (name: string) => {
    const tensor = byName.get(name);
    return { action: tensor?.planes ? "nest" : "keep", reason: tensor?.reason ?? undefined } as const;
  };
  const infos = tensors.map((tensor) => ({ ...tensor, dataOffsets: tensor.offsets }));
  const expected = JSON.parse(JSON.stringify(summarise(infos, decisionOf)));
  if (!isDeepStrictEqual(structuredClone(summary), expected)) {
    messages.push(`has a summary that its tensors do not give: ${JSON.stringify(expected)}`);
  }
  return messages;
}

/** Split with words that no patch list keeps. */
function isLossy({ planes, dtype, inexact, patches }: ManifestTensor): boolean {
  return planes !== null && (dtype === "F32" || inexact > patches);
}

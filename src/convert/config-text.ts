import { findMember, objectEnd } from "../safetensors/json.ts";

/**
 * Sets one top-level member of a config.json and leaves every other byte as it is, so that numbers keep the
 * spelling of the source (1e-05, 500000.0).
 *
 * @param document a JSON object, already validated.
 */
export function withMember(document: Uint8Array, key: string, value: unknown): Uint8Array {
  const rendered = JSON.stringify(value, null, 2).replaceAll("\n", "\n  ");
  const member = findMember(document, key, "config.json", "python");
  if (member) return splice(document, member.valueStart, member.valueEnd, rendered);
  const { offset, empty, contentEnd } = objectEnd(document, "config.json", "python");
  return splice(document, contentEnd, offset, `${empty ? "" : ","}\n  ${JSON.stringify(key)}: ${rendered}\n`);
}

/** A config.json whose weights are `dtype`, under whichever of its two names the document uses. */
export function withDtype(config: Uint8Array, dtype: string): Uint8Array {
  const names = ["dtype", "torch_dtype"].filter(
    (name) => findMember(config, name, "config.json", "python") !== undefined,
  );
  return (names.length > 0 ? names : ["dtype"]).reduce((text, name) => withMember(text, name, dtype), config);
}

function splice(document: Uint8Array, start: number, end: number, text: string): Uint8Array {
  return Buffer.concat([document.subarray(0, start), Buffer.from(text), document.subarray(end)]);
}

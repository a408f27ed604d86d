import { quote } from "../safetensors/quote.ts";

import type { JsonFields } from "./json-fields.ts";

/** Of the `tokenizers` library. */
const known = [
  "BPEDecoder",
  "ByteFallback",
  "ByteLevel",
  "CTC",
  "Fuse",
  "Metaspace",
  "Replace",
  "Sequence",
  "Strip",
  "WordPiece",
];

/**
 * Nothing is decoded here, but a component that the library does not have makes a file of another kind, of which the
 * rest may mean something else, too.
 * @throws FormatError that names it
 */
export function refuseUnknownDecoder(decoder: JsonFields | undefined): void {
  if (decoder === undefined) return;
  const type = decoder.required("type", decoder.string("type"));
  if (!known.includes(type)) {
    decoder.fail(`the decoder ${quote(type)} is not supported`, `nestedfp knows ${known.join(", ")}`);
  }
  if (type !== "Sequence") return;
  for (const part of decoder.required("decoders", decoder.objects("decoders"))) refuseUnknownDecoder(part);
}

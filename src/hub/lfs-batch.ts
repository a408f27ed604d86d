import { NetworkError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";

type Requested = { readonly oid: string; readonly size: number };

/**
 * A `fetch` that looks at what the Hub answers to the batch request of Git LFS before @huggingface/hub does, which
 * throws at an odd object where nobody catches it.
 *
 * @param id of the repository
 */
export function withCheckedBatch(request: typeof fetch, id: string): typeof fetch {
  return async (url, init) => {
    const response = await request(url, init);
    if (!String(url).endsWith("/info/lfs/objects/batch")) return response;
    const text = await response.text();
    const requested = JSON.parse(String(init?.body)).objects as Requested[];
    checkBatch(JSON.parse(text), new Map(requested.map(({ oid, size }) => [oid, size])), id);
    const { status, headers } = response;
    return new Response(text, { status, headers: new Headers([...headers]) });
  };
}

/** @throws TypeError for what no server should answer; NetworkError for an object that the Hub does not take */
function checkBatch(answer: unknown, sizes: ReadonlyMap<string, number>, id: string): void {
  const objects = membersOf(answer).objects;
  if (!Array.isArray(objects)) throw new TypeError("no list of objects");
  const answered = new Set<string>();
  for (const object of objects) {
    const { oid, error, actions } = membersOf(object);
    const size = sizes.get(String(oid));
    if (size === undefined) throw new TypeError(`object ${quote(String(oid))}, which nobody asked for`);
    if (error) throw refused(id, String(oid), membersOf(error));
    const { upload } = membersOf(actions);
    if (upload) checkUpload(membersOf(upload), size);
    answered.add(String(oid));
  }
  // What is not named would count as uploaded.
  if (answered.size < sizes.size) throw new TypeError(`${answered.size} of ${sizes.size} objects`);
}

/** An address for the content, or one for each of its parts, which are numbered from 1. */
function checkUpload({ href, header }: Record<string, unknown>, size: number): void {
  const headers = membersOf(header);
  const { chunk_size: chunk } = headers;
  const addresses: unknown[] = [href];
  if (chunk !== undefined && chunk !== "") {
    const parts = Object.keys(headers).filter((key) => /^\d+$/.test(key));
    const numbers = parts.map(Number).sort((a, b) => a - b);
    const isWhole = numbers.every((number, i) => number === i + 1);
    if (!isWhole || numbers.length !== Math.ceil(size / Number(chunk)))
      throw new TypeError(`${numbers.length} parts of ${quote(String(chunk))} bytes for a file of ${size}`);
    addresses.push(...parts.map((part) => headers[part]));
  }
  for (const address of addresses) {
    if (typeof address !== "string" || !URL.canParse(address)) throw new TypeError("an upload to no address");
  }
}

function refused(id: string, oid: string, { code, message }: Record<string, unknown>): NetworkError {
  const reason = `${quote(String(message))} (${quote(String(code))})`;
  return new NetworkError(`${quote(id)}: the Hub does not take the file of sha256 ${oid}: ${reason}`, {
    hint: "check the permissions and the storage that is left of the account; SHA256SUMS says which file it is",
  });
}

function membersOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

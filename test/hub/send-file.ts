import type { IncomingMessage, ServerResponse } from "node:http";
import type { Fault } from "./fault-schedule.ts";

/** How a content is sent. */
export type Sending = {
  readonly fault: Fault | undefined;
  /** Called with the path before each piece of a body. */
  readonly onPiece: ((path: string) => void) | undefined;
  /** What Content-Range says that the file has, by default the truth. */
  readonly size?: number | undefined;
};

/** Answers with a content or the range of it that was asked for, as far as the fault lets it. */
export function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  whole: Uint8Array,
  { fault, onPiece, size = whole.length }: Sending,
): void {
  const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const isRange = match !== null && fault?.kind !== "ignore-range";
  const start = isRange ? Number(match[1]) : 0;
  const end = isRange && match[2] ? Number(match[2]) + 1 : whole.length;
  if (isRange && start >= whole.length) {
    response.writeHead(416, { "content-range": `bytes */${whole.length}` }).end();
    return;
  }
  const shift = fault?.kind === "other-range" ? 1 : 0;
  const body = spoilt(whole.subarray(start + shift, end), fault);
  response.writeHead(isRange ? 206 : 200, {
    ...(fault?.kind !== "endless" && { "content-length": body.length }),
    ...(isRange && { "content-range": `bytes ${start + shift}-${Math.min(end, size) - 1}/${size}` }),
  });
  response.flushHeaders();
  const cut = fault?.kind === "truncate" || fault?.kind === "silence" ? (fault.bytes ?? 0) : body.length;
  const path = request.url ?? "";
  sendPieces(
    response,
    body.subarray(0, cut),
    () => onPiece?.(path),
    () => {
      if (fault?.kind === "truncate") response.destroy();
      else if (fault?.kind === "endless") sendEndlessly(response);
      else if (fault?.kind !== "silence") response.end();
    },
  );
}

/** Sends until the other side has had enough. */
export function sendEndlessly(response: ServerResponse): void {
  response.write(Buffer.alloc(1 << 16), (error) => error || sendEndlessly(response));
}

export function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function spoilt(bytes: Uint8Array, fault: Fault | undefined): Uint8Array {
  const body = new Uint8Array(bytes);
  const middle = body.length >> 1;
  if (fault?.kind === "corrupt" && body.length > 0) body[middle] = (body[middle] ?? 0) ^ 1;
  if (fault?.kind !== "length") return body;
  return fault.change < 0 ? body.slice(0, fault.change) : Buffer.concat([body, new Uint8Array(fault.change)]);
}

function sendPieces(response: ServerResponse, body: Uint8Array, onPiece: () => void, done: () => void): void {
  if (body.length === 0) {
    done();
    return;
  }
  const piece = body.subarray(0, 1 << 16);
  onPiece();
  response.write(piece, (error) => error || sendPieces(response, body.subarray(piece.length), onPiece, done));
}

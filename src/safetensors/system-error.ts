import { getSystemErrorMap } from "node:util";

import { FormatError, MachineError } from "../errors.ts";
import { quote } from "./quote.ts";

/** A failure of the file system on something we read: the input is at fault (exit 4). */
export function inputError(error: unknown, path: string): FormatError {
  return new FormatError(`${quote(path)} cannot be read: ${systemReason(error)}`, {
    hint: inputHints.get(systemCode(error)) ?? "check the disk or the network drive that holds it",
    cause: error,
  });
}

/** What is written to, and what the user can choose instead: words of a hint. */
export type OutputPlace = { readonly the: string; readonly another: string };

/** A failure of the file system on something we write: this machine is at fault (exit 3). */
export function outputError(
  error: unknown,
  path: string,
  place: OutputPlace = { the: "the output directory", another: "another output directory" },
): MachineError {
  return new MachineError(`${quote(path)} cannot be written: ${systemReason(error)}`, {
    hint: outputHint(error, place),
    cause: error,
  });
}

/** What to do about a failure to write. */
export function outputHint(error: unknown, { the, another }: OutputPlace): string {
  return outputHints(the, another).get(systemCode(error)) ?? `check the disk or choose ${another}`;
}

/** "ENOENT" and the like; "" for an error that is not the system's. */
export function systemCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** "no such file or directory (ENOENT)": Node's own message repeats the path unescaped, so it is not used. */
function systemReason(error: unknown): string {
  if (error instanceof Error && "errno" in error && typeof error.errno === "number") {
    const entry = getSystemErrorMap().get(error.errno);
    if (entry !== undefined) return `${entry[1]} (${entry[0]})`;
  }
  return systemCode(error) || (error instanceof Error ? quote(error.message) : "unknown reason");
}

const inputHints = new Map([
  ["ENOENT", "check the path; a link that leads nowhere means that a download is incomplete"],
  ["ENOTDIR", "check the path: one of its parts is not a directory"],
  ["EACCES", "check the permissions of the file and of the directories above it"],
  ["EPERM", "check the permissions of the file and of the directories above it"],
  ["EISDIR", "name a file, not a directory"],
  ["ENXIO", "name a regular file, not a socket or a device"],
  ["ELOOP", "the symbolic links lead in a circle"],
  ["EMFILE", "raise the limit of open files (ulimit -n)"],
]);

function outputHints(the: string, another: string): ReadonlyMap<string, string> {
  return new Map([
    ["ENOSPC", `free some space on that disk or choose ${another}`],
    ["EDQUOT", `the disk quota is used up: free some space or choose ${another}`],
    ["EROFS", `that file system is read-only: choose ${another}`],
    ["EACCES", `check the permissions of ${the} or choose ${another}`],
    ["EPERM", `check the permissions of ${the} or choose ${another}`],
    ["ENOENT", `${the} does not exist or was removed meanwhile`],
    ["ENOLCK", `that file system has no file locks: choose ${another}`],
    ["EFBIG", `that file system does not allow files of this size: choose ${another}`],
  ]);
}

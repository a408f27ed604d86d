import type { Finding } from "./finding.ts";

const oldest = [20, 15] as const;

/** @param version as `process.version`: "v20.15.0" */
export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  const [oldestMajor, oldestMinor] = oldest;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) {
    return { name: "node", status: "ok", detail: version };
  }
  const least = oldest.join(".");
  return {
    name: "node",
    status: "fail",
    detail: `${version}, and nestedfp needs ${least} or newer`,
    mend: `install Node ${least} or newer, e.g. nvm install 22`,
  };
}

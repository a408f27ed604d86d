// Converts, verifies, restores and evaluates the model in fixtures/ in a temporary directory and shows what each step
// says.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const source = "fixtures/tiny-llama";
const work = mkdtempSync(join(tmpdir(), "nestedfp-demo-"));
const [nested, restored] = [join(work, "tiny-nested"), join(work, "tiny-restored")];

try {
  nestedfp("convert", source, "-o", nested);
  nestedfp("verify", nested, "--deep", "--against", source);
  nestedfp("restore", nested, "-o", restored);
  compare(join(root, source), restored);
  nestedfp("eval", nested, "--text", "fixtures/text/overlay.txt", "--ctx", "128");
} finally {
  rmSync(work, { recursive: true, force: true });
}

function nestedfp(...argv) {
  const shown = argv.map((word) => word.replace(work, "/tmp/demo"));
  console.log(`\n$ nestedfp ${shown.join(" ")}`);
  execFileSync(process.execPath, [join(root, "bin/nestedfp.js"), ...argv], { cwd: root, stdio: "inherit" });
}

/** Fails unless both directories hold the same files with the same bytes. */
function compare(expected, actual) {
  const names = readdirSync(expected).sort();
  const same = names.filter((name) => sha256(join(expected, name)) === sha256(join(actual, name)));
  if (same.length !== names.length || readdirSync(actual).length !== names.length) {
    throw new Error(`only ${same.length} of ${names.length} restored files equal their source`);
  }
  console.log(`\nall ${names.length} restored files equal the source byte for byte`);
}

function sha256(path) {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

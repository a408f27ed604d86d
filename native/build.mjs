// Builds native/build/Release/nestedfp.node without the network: node native/build.mjs
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const native = dirname(fileURLToPath(import.meta.url));

/** The command of the C++ compiler that node-gyp's makefile will use. */
const compiler = process.env.CXX ?? (process.platform === "darwin" ? "c++" : "g++");

/** Official archives, Docker images and most packages put the headers beside the binary. */
function installedNodedir() {
  if (process.env.NESTEDFP_NODE_HEADERS === "package") return undefined;
  const prefix = join(dirname(realpathSync(process.execPath)), "..");
  return existsSync(join(prefix, "include/node/node_api.h")) ? prefix : undefined;
}

/** A folder that looks like node's own, made of the headers of Node-API alone. */
function nodedirOfPackage() {
  const nodedir = mkdtempSync(join(tmpdir(), "nestedfp-node-api-"));
  cpSync(join(native, "common.gypi"), join(nodedir, "common.gypi"));
  cpSync(require("node-api-headers").include_dir, join(nodedir, "include/node"), { recursive: true });
  return nodedir;
}

function missingTools() {
  const tools = [
    ["python3", process.env.PYTHON ?? "python3"],
    ["make", process.env.MAKE ?? "make"],
    ["a C++ compiler", compiler.split(" ")[0]],
  ];
  return tools
    .filter(([, command]) => spawnSync(command, ["--version"]).error !== undefined)
    .map(([name, command]) => (name === command ? name : `${name} (${command})`));
}

function build(nodedir, options) {
  const nodeGyp = require.resolve("node-gyp/bin/node-gyp.js");
  const run = spawnSync(
    process.execPath,
    [
      nodeGyp,
      "rebuild",
      "-C",
      native,
      "--jobs",
      "max",
      "--loglevel",
      "error",
      `--nodedir=${nodedir}`,
      ...options,
    ],
    { stdio: "inherit" },
  );
  // gyp leaves the makefiles of node-addon-api here, beside the folder that it should use.
  rmSync(join(native, "node_modules"), { recursive: true, force: true });
  return run.status === 0;
}

function fail(sentence) {
  console.error(`native/build.mjs: ${sentence}`);
  process.exit(1);
}

const missing = missingTools();
if (missing.length > 0) {
  fail(
    `the addon needs ${missing.join(" and ")}, not found on PATH; on Debian: apt install python3 make g++`,
  );
}

const installed = installedNodedir();
if (installed !== undefined) {
  if (!build(installed, [])) fail(`node-gyp failed with the headers of ${installed}, see above`);
} else {
  const nodedir = nodedirOfPackage();
  const isBuilt = build(nodedir, ["--force-process-config"]);
  rmSync(nodedir, { recursive: true });
  if (!isBuilt) fail("node-gyp failed with the headers of the package node-api-headers, see above");
}

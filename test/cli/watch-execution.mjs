// Loaded before the binary (NODE_OPTIONS=--import): notes in the file NESTEDFP_EXECUTED whatever would run other code.
import childProcess from "node:child_process";
import { appendFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import vm from "node:vm";
import workers from "node:worker_threads";

function watch(module, names) {
  for (const name of names) {
    const original = module[name];
    module[name] = new Proxy(original, {
      apply: (target, self, args) => note(name, args[0]) ?? Reflect.apply(target, self, args),
      construct: (target, args) => note(name, args[0]) ?? Reflect.construct(target, args),
    });
  }
}

function note(name, what) {
  appendFileSync(process.env.NESTEDFP_EXECUTED, `${name} ${String(what).slice(0, 200)}\n`);
}

watch(childProcess, ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"]);
watch(vm, ["runInContext", "runInNewContext", "runInThisContext", "compileFunction", "Script"]);
watch(workers, ["Worker"]);
watch(globalThis, ["eval", "Function"]);
syncBuiltinESMExports();

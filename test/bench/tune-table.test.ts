import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import {
  emptyTuneTable,
  findTuned,
  loadTuneTable,
  mergeTuneTable,
  saveTuneTable,
  tunedEntries,
  tuneEntries,
} from "../../src/bench/tune-table.ts";
import { FormatError } from "../../src/errors.ts";
import { scratchDirectory } from "../convert/scratch.ts";
import { rowOf } from "./rows.ts";

const h100 = {
  name: "H100",
  driver: "580",
  sm_count: 132,
  memory_bandwidth: 3.35e12,
  libraries: { kernels: "aa" },
};
const entry = (m: number, config: string, us = 1) =>
  ({ kernel: "nested-fp16", n: 64, k: 32, m, config, us }) as const;

test("the fastest configuration of each kernel and point is kept, whatever its quantiser takes", () => {
  const rows = [
    rowOf("nested-fp16", {}, 5, { config: "a" }),
    rowOf("nested-fp16", {}, 4, { config: "b" }),
    rowOf("nested-fp16", { m: 2 }, 9, { config: "c" }),
    rowOf("nested-fp8", {}, 3, { config: "w8a8", median_with_quantise_us: 6 }),
    rowOf("nested-fp8", {}, 5, { config: "w8a16" }),
    { ...rowOf("nested-fp8", {}, 1, { config: "wrong" }), median_us: null },
  ];
  assert.deepEqual(
    tuneEntries(rows).map(({ m, config, us }) => [m, config, us]),
    [
      [1, "b", 4],
      [2, "c", 9],
      [1, "w8a8", 3],
    ],
  );
});

test("merging replaces points of the same device alone", () => {
  const first = mergeTuneTable(emptyTuneTable, h100, [entry(1, "a"), entry(2, "b")]);
  const other = mergeTuneTable(first, { ...h100, name: "H200", driver: null }, [entry(1, "z")]);
  const table = mergeTuneTable(other, { ...h100, driver: "581" }, [entry(2, "c"), entry(3, "d")]);
  const configs = (name: string) => table.devices[name]?.entries.map(({ m, config }) => `${m}${config}`);
  assert.deepEqual(configs("H100"), ["1a", "2c", "3d"]);
  assert.deepEqual(configs("H200"), ["1z"]);
  assert.equal(table.devices.H100?.driver, "581");
});

test("merging drops what was measured of other kernels", () => {
  const first = mergeTuneTable(emptyTuneTable, h100, [entry(1, "a"), entry(2, "b")]);
  const table = mergeTuneTable(first, { ...h100, libraries: { kernels: "bb" } }, [entry(2, "c")]);
  assert.deepEqual(
    table.devices.H100?.entries.map(({ config }) => config),
    ["c"],
  );
  assert.equal(table.devices.H100?.kernels, "bb");
});

test("what the user measured goes before what is shipped, unless it is of other kernels", () => {
  const unnamed = { ...h100, libraries: {} };
  const shipped = mergeTuneTable(emptyTuneTable, unnamed, [entry(1, "shipped"), entry(2, "shipped")]);
  const own = mergeTuneTable(emptyTuneTable, h100, [entry(2, "own")]);
  const found = (mine: typeof own, device = h100) => {
    const { entries, isOfOtherKernels } = tunedEntries(shipped, mine, device);
    return [...entries.map(({ config }) => config), isOfOtherKernels];
  };
  assert.deepEqual(found(own), ["shipped", "own", false]);
  assert.deepEqual(found(emptyTuneTable), ["shipped", "shipped", false]);
  assert.deepEqual(found(own, { ...h100, libraries: { kernels: "bb" } }), ["shipped", "shipped", true]);
  // Tables of earlier versions do not say what they are of.
  assert.deepEqual(found(mergeTuneTable(emptyTuneTable, unnamed, [entry(2, "old")])), [
    "shipped",
    "shipped",
    true,
  ]);
  assert.deepEqual(found(own, { ...h100, name: "H100 PCIe", sm_count: 114 }), [false]);
  assert.deepEqual(found(own, { ...h100, name: "__proto__", sm_count: 114 }), [false]);
});

test("a device that nothing is shipped for takes the entries of the one that is most like it", () => {
  const unnamed = { ...h100, libraries: {} };
  const h200 = { ...unnamed, name: "H200", memory_bandwidth: 4.9e12 };
  const shipped = [unnamed, h200, { ...h200, name: "H20", sm_count: 78 }].reduce(
    (table, device) => mergeTuneTable(table, device, [entry(1, device.name)]),
    emptyTuneTable,
  );
  const found = (device: Partial<Parameters<typeof tunedEntries>[2]>, own = emptyTuneTable) => {
    const { entries, standIn } = tunedEntries(shipped, own, { ...h100, name: "GH200", ...device });
    return [...entries.map(({ config }) => config), standIn];
  };
  assert.deepEqual(found({ memory_bandwidth: 4.02e12 }), ["H100", "H100"]);
  assert.deepEqual(found({ memory_bandwidth: 4.1e12 }), ["H200", "H200"]);
  assert.deepEqual(found({ sm_count: 78 }), ["H20", "H20"]);
  assert.deepEqual(found({ sm_count: 114 }), [undefined]);
  assert.deepEqual(found({ sm_count: null }), [undefined]);
  assert.deepEqual(found({ memory_bandwidth: null }), ["H100", "H100"]);
  assert.deepEqual(found({ name: "H200" }), ["H200", undefined]);
  // What the user measured there needs no word about the rest.
  const own = mergeTuneTable(emptyTuneTable, { ...h100, name: "GH200" }, [entry(2, "own")]);
  assert.deepEqual(found({}, own), ["H100", "own", undefined]);
  const failed = mergeTuneTable(emptyTuneTable, { ...h100, name: "GH200" }, []);
  assert.deepEqual(found({}, failed), ["H100", "H100"]);
});

test("what was measured at M is found, or else below and above it, and not for another shape", () => {
  const entries = [entry(16, "b"), entry(1, "a"), entry(64, "c")];
  const found = (m: number, n = 64) =>
    findTuned(entries, { kernel: "nested-fp16", n, k: 32, m })
      .map(({ config }) => config)
      .join("");
  assert.deepEqual(
    [1, 3, 7, 16, 31, 33, 64, 192].map((m) => found(m)),
    ["a", "a", "b", "b", "bc", "bc", "c", "c"],
  );
  // What is fastest for one token is far from it for thousands: the cost model decides there.
  assert.deepEqual(
    [4, 5, 193, 8192].map((m) => found(m)),
    ["", "", "", ""],
  );
  assert.equal(found(1, 65), "");
});

test("a table survives the disk, an absent one is empty, and no temporary file stays", async (t) => {
  const path = join(await scratchDirectory(t), "tune.json");
  assert.deepEqual(await loadTuneTable(path), emptyTuneTable);
  const table = mergeTuneTable(emptyTuneTable, h100, [entry(1, "a", 1.25)]);
  await saveTuneTable(path, table);
  await saveTuneTable(path, table);
  assert.deepEqual(await loadTuneTable(path), table);
  assert.deepEqual(readdirSync(dirname(path)), ["tune.json"]);
});

test("a table that cannot be put in place leaves no temporary file", async (t) => {
  const folder = await scratchDirectory(t);
  mkdirSync(join(folder, "tune.json", "full"), { recursive: true });
  await assert.rejects(saveTuneTable(join(folder, "tune.json"), emptyTuneTable));
  assert.deepEqual(readdirSync(folder), ["tune.json"]);
});

test("a damaged table is refused by name", async (t) => {
  const path = join(await scratchDirectory(t), "tune.json");
  const { schema } = emptyTuneTable;
  const wrong = ["", "null", "{}", '{"schema":"nestedfp.tune/2","devices":{}}'];
  wrong.push('{"schema":"nestedfp.tune/1","devices":{"H100":{}}}', '{"schema":"nestedfp.tune/1"}');
  const entries = [
    null,
    5,
    {},
    { ...entry(1, "a"), n: "64" },
    { ...entry(1, "a"), config: 5 },
    entry(0, "a"),
  ];
  for (const one of entries) wrong.push(JSON.stringify({ schema, devices: { H100: { entries: [one] } } }));
  wrong.push(JSON.stringify({ schema, devices: [] }), JSON.stringify({ schema, devices: [null] }));
  for (const text of wrong) {
    writeFileSync(path, text);
    await assert.rejects(loadTuneTable(path), FormatError, text);
  }
});

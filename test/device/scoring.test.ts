import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { allDevices, testEach } from "./implementations.ts";
import { activationValues, uploaded } from "./values.ts";

function logSoftmax(row: Float32Array): number[] {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = row.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return Array.from(row, (logit) => logit - most - Math.log(sum));
}

function rowsOf(values: Float32Array, cols: number): Float32Array[] {
  return Array.from({ length: values.length / cols }, (_, t) => values.subarray(t * cols, (t + 1) * cols));
}

function near(
  actual: number | undefined,
  expected: number | undefined,
  tolerance: number,
  what: string,
): void {
  assert.ok(
    Math.abs((actual ?? NaN) - (expected ?? NaN)) <= tolerance,
    `${what}: ${actual}, expected ${expected}`,
  );
}

/** Logits as a model gives them: a few far above the others, and a constant that cancels. */
function logitsOf(rows: number, cols: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  return activationValues(rows * cols, random).map(
    (value, at) => 2 * value + 10 * Math.floor(at / cols) - 100,
  );
}

testEach("nll and compare are their formulas in double precision", async (device) => {
  for (const cols of [1, 2, 16, 17, 31, 100, 1000]) {
    const rows = 12;
    const targets = Int32Array.from({ length: rows }, (_, t) => (t * 7) % cols);
    const reference = logitsOf(rows, cols, cols);
    const noise = activationValues(rows * cols, seededRandom(cols + 1));
    const logits = reference.map((logit, at) => logit + 0.1 * (noise[at] ?? 0));
    const [a, b] = [uploaded(device, reference, rows, cols), uploaded(device, logits, rows, cols)];
    const nll = await device.nll(b, targets);
    const { kl, sameTop1, deltaP } = await device.compare(a, b, targets);
    const top1 = (row: Float32Array) => row.indexOf(row.reduce((x, y) => Math.max(x, y)));
    for (let t = 0; t < rows; t++) {
      const [from, to] = [rowsOf(reference, cols)[t], rowsOf(logits, cols)[t]];
      assert.ok(from !== undefined && to !== undefined);
      const [p, q] = [logSoftmax(from), logSoftmax(to)];
      const target = targets[t] ?? 0;
      const what = `${cols} columns, row ${t}`;
      near(nll[t], -(q[target] ?? 0), 2e-7, what);
      const divergence = p.reduce((sum, logP, k) => sum + Math.exp(logP) * (logP - (q[k] ?? 0)), 0);
      near(kl[t], divergence, 2e-7, what);
      near(deltaP[t], Math.exp(q[target] ?? 0) - Math.exp(p[target] ?? 0), 2e-7, what);
      assert.equal(sameTop1[t], top1(from) === top1(to) ? 1 : 0, what);
    }
  }
});

testEach("equal logits compare as exactly equal", async (device) => {
  const logits = logitsOf(5, 333, 1);
  const [a, b] = [uploaded(device, logits, 5, 333), uploaded(device, logits, 5, 333)];
  const { kl, sameTop1, deltaP } = await device.compare(a, b, Int32Array.of(0, 1, 2, 3, 332));
  assert.deepEqual([...kl, ...deltaP], new Array(10).fill(0));
  assert.deepEqual([...sameTop1], [1, 1, 1, 1, 1]);
});

testEach("the first of equal logits is the most likely token", async (device) => {
  const zeros = new Float32Array(40);
  const later = zeros.slice();
  later[1] = 2 ** -20;
  const [a, b] = [uploaded(device, zeros, 1, 40), uploaded(device, later, 1, 40)];
  assert.deepEqual([...(await device.compare(a, b, Int32Array.of(0))).sameTop1], [0]);
  const only = zeros.slice();
  only[0] = 1;
  const c = uploaded(device, only, 1, 40);
  assert.deepEqual([...(await device.compare(a, c, Int32Array.of(0))).sameTop1], [1]);
});

testEach("logits far apart give 0 and the difference itself", async (device) => {
  const x = uploaded(device, Float32Array.of(1000, 0, -1000, -Infinity), 1, 4);
  const nll = async (target: number) => [...(await device.nll(x, Int32Array.of(target)))];
  assert.deepEqual(await nll(0), [0]);
  assert.deepEqual(await nll(1), [1000]);
  assert.deepEqual(await nll(3), [Infinity]);
});

testEach("a NaN or an infinity is found, wherever it is, and makes its row's nll NaN", async (device) => {
  const cols = 37;
  const finite = activationValues(3 * cols, seededRandom(2));
  finite[5] = 3.4028234663852886e38;
  finite[6] = 2 ** -149;
  assert.equal(await device.anyNonFinite(uploaded(device, finite, 3, cols)), false);
  for (const bad of [NaN, Infinity, -Infinity]) {
    for (const at of [0, 15, 16, cols - 1, cols, 3 * cols - 1]) {
      const values = finite.map((value) => Math.min(value, 10));
      values[at] = bad;
      const x = uploaded(device, values, 3, cols);
      assert.equal(await device.anyNonFinite(x), true, `${bad} at ${at}`);
      const nll = await device.nll(x, Int32Array.of(1, 1, 1));
      nll.forEach((value, t) => {
        const hit = t === Math.floor(at / cols) && bad !== -Infinity;
        assert.equal(Number.isNaN(value), hit, `${bad} at ${at}: row ${t}`);
      });
    }
  }
});

testEach("a view is searched within its own columns", async (device) => {
  const values = activationValues(4 * 20, seededRandom(3));
  values[1 * 20 + 15] = NaN;
  const x = uploaded(device, values, 4, 20);
  assert.equal(await device.anyNonFinite(device.columns(x, 0, 15)), false);
  assert.equal(await device.anyNonFinite(device.columns(x, 15, 5)), true);
  assert.equal(await device.anyNonFinite(device.rows(x, 2, 2)), false);
});

testEach("firstDifference is the first row-major index whose bits differ", async (device) => {
  const values = activationValues(200 * 300, seededRandom(4));
  values[0] = 0;
  const a = uploaded(device, values, 200, 300);
  const b = uploaded(device, values, 200, 300);
  assert.equal(await device.firstDifference(a, b), -1);
  for (const positions of [[59999], [31000, 40000, 30999], [12345, 301], [0, 299]]) {
    const changed = values.slice();
    // A zero of the other sign is a difference of bits.
    for (const at of positions) changed[at] = -(values[at] ?? 0);
    device.upload(changed, b);
    assert.equal(await device.firstDifference(a, b), Math.min(...positions));
  }
});

test("all implementations and numbers of threads give the same bits", async () => {
  const [first, ...others] = allDevices();
  assert.ok(first !== undefined);
  const targets = Int32Array.from({ length: 50 }, (_, t) => t);
  const outputs = async (device: typeof first) => {
    const reference = uploaded(device, logitsOf(50, 1999, 5), 50, 1999);
    const logits = uploaded(device, logitsOf(50, 1999, 6), 50, 1999);
    return [await device.nll(logits, targets), await device.compare(reference, logits, targets)];
  };
  const expected = await outputs(first);
  for (const device of others) assert.deepEqual(await outputs(device), expected, device.name);
});

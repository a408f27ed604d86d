import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { decompose, halfToNumber, reconstruct } from "../../src/codec/reference.ts";
import { toDeviceOrder, toLowerPlane } from "./device-layout.ts";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-planes-"));
after(() => rmSync(folder, { recursive: true }));

/** The kernels of ops/planes.cuh as one thread of a CPU runs them. */
const program = `
#define __device__
#define __host__
#define __shared__ static
struct { int x; } blockIdx{0}, blockDim{1}, gridDim{1}, threadIdx{0};
inline void __syncthreads() {}
#include "ops/planes.cuh"
#include <cstdio>
#include <vector>
using namespace nestedfp::kernels;
int main() {
    constexpr int n = 4096, k = 16;  // all words, in rows that are filled up to 128
    std::vector<uint16_t> words(n * k), back(n * k);
    for (int i = 0; i < n * k; ++i) words[i] = static_cast<uint16_t>(i);
    std::vector<uint8_t> upper(n * 128), lower(n * 128), high(n * 128), low(n * 128);
    split_planes({words.data(), upper.data(), lower.data(), n, k, 128});
    for (int i = 0; i < n * 128; ++i) {
        const int pair = i / 128 * k + static_cast<int>(element_at(i % 128));
        if (element_at(i % 128) >= k) continue;
        high[i] = pair >> 8;
        low[lower_at(i / 128, i % 128, 128)] = pair & 0xff;
    }
    join_planes({high.data(), low.data(), back.data(), n, k, 128});
    std::fwrite(upper.data(), 1, upper.size(), stdout);
    std::fwrite(lower.data(), 1, lower.size(), stdout);
    std::fwrite(back.data(), 2, back.size(), stdout);
}`;

test("the kernels' planes and words are the reference's, for all words and all pairs of bytes", () => {
  const source = join(folder, "planes.cc");
  writeFileSync(source, program);
  const binary = join(folder, "planes");
  execFileSync("g++", ["-std=c++20", "-fpermissive", "-w", "-I", kernels, source, "-o", binary]);
  execFileSync("sh", ["-c", `"${binary}" > "${folder}/out"`]);
  const out = readFileSync(join(folder, "out"));
  const [n, k] = [4096, 16];
  const plane = n * 128;
  const words = Array.from({ length: n * k }, (_, word) => word);
  // NaN and infinity have no upper byte that means anything.
  const finite = words.map((word) => (Number.isFinite(halfToNumber(word)) ? word : 0));
  const isMeaningless = toDeviceOrder(
    Uint8Array.from(words, (word, at) => Number(finite[at] !== word)),
    n,
    k,
  );
  const upper = toDeviceOrder(
    Uint8Array.from(finite, (word) => decompose(word).upper),
    n,
    k,
  );
  const lower = toLowerPlane(
    Uint8Array.from(words, (word) => word & 0xff),
    n,
    k,
  );
  for (let at = 0; at < plane; at++) {
    if (isMeaningless[at] === 0) assert.equal(out[at], upper[at], `upper at ${at}`);
    assert.equal(out[plane + at], lower[at], `lower at ${at}`);
  }
  for (const pair of words) {
    const word = out.readUInt16LE(2 * plane + 2 * pair);
    assert.equal(word, reconstruct({ upper: pair >> 8, lower: pair & 0xff }), `pair 0x${pair.toString(16)}`);
  }
});

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { devicePosition } from "./device-layout.ts";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-layout-"));
after(() => rmSync(folder, { recursive: true }));

test("the kernels' order of K is the inverse of the one that the tests use", () => {
  const source = join(folder, "layout.cc");
  writeFileSync(
    source,
    `#define __host__
     #define __device__
     #include "ops/layout.cuh"
     #include <cstdio>
     int main() { for (int p = 0; p < 384; ++p) std::printf("%d ", int(nestedfp::kernels::element_at(p))); }`,
  );
  const program = join(folder, "layout");
  execFileSync("g++", ["-std=c++20", "-I", kernels, source, "-o", program]);
  const elements = execFileSync(program, { encoding: "utf8" }).trim().split(" ").map(Number);
  assert.equal(elements.length, 384);
  assert.deepEqual(
    elements.map((k) => devicePosition(k)),
    elements.map((_, position) => position),
  );
});

test("a lane's sixteen bytes are its operands of four k16 steps, and its next those of the next four", () => {
  // Lane c of a quad holds columns 2c, 2c+1, 2c+8 and 2c+9 of each 16 (PTX, wgmma fragments of 16-bit types).
  for (let c = 0; c < 4; c++) {
    const operands = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((j) =>
      [0, 1, 8, 9].map((column) => 16 * j + 2 * c + column),
    );
    assert.deepEqual(
      operands.map(devicePosition),
      operands.map((_, at) => 32 * c + at),
    );
  }
});

/** Prints what is wrong with the lower plane's tiles for the copies that the kernels make of them. */
const tiles = `
#include "interface/launch_plan.h"
#include <cstdio>
#include <set>
using namespace nestedfp::kernels;
int main() {
    int configs = 0;
    const auto check_last = [](const char* name, const TensorMapSpec& whole, const TensorMapSpec& last) {
        const uint64_t left = whole.rows % whole.box_rows;
        if (last.box_rows != (left > 0 ? left : whole.box_rows) || last.rows != whole.rows ||
            last.box_cols != whole.box_cols || last.pitch != whole.pitch || last.type != whole.type) {
            std::printf("%s: the last copy takes %u of %u rows\\n", name, last.box_rows, whole.box_rows);
        }
    };
    for (const GemmConfig& config : kGemmConfigs) {
        const LaunchPlan plan = plan_launch(config, Schedule::kWhole, 300, 6160, 272, 132);
        check_last(config.name, plan.weights, plan.last_weights);
        check_last(config.name, plan.activations, plan.last_activations);
        if (config.planes() != 2) {
            if (plan.lower.rows != 0) std::printf("%s: a map of a plane that it has not\\n", config.name);
            continue;
        }
        ++configs;
        const int share = config.block_rows() / config.cluster_tokens, box = lower_box_rows(share);
        const int groups = plan.params.lower_groups;
        if (share % box != 0 || static_cast<int>(plan.lower.box_rows) != box || groups != 3 ||
            plan.lower.rows * 128 != lower_plane_bytes(6160, 272)) {
            std::printf("%s: shares of %d rows in boxes of %d\\n", config.name, share, box);
        }
        for (int first = 0; first < 6160; first += box) {
            for (int i = 0; i < box; ++i) {
                if (lower_row(first + i, 2, groups) != lower_row(first, 2, groups) + i) {
                    std::printf("%s: the copy of %d rows from %d leaves its tile\\n", config.name, box, first);
                }
            }
        }
    }
    std::set<int> rows;
    for (int row = 0; row < 192; ++row) {
        for (int group = 0; group < 5; ++group) rows.insert(lower_row(row, group, 5));
    }
    if (rows.size() != 960 || *rows.begin() != 0 || *rows.rbegin() != 959) std::printf("rows lie twice\\n");
    std::printf("%s\\n", configs > 10 ? "done" : "too few");
}`;

test("a copy of the lower plane stays inside a tile, for the rows that each configuration loads", () => {
  const source = join(folder, "tiles.cc");
  writeFileSync(source, tiles);
  const program = join(folder, "tiles");
  execFileSync("g++", ["-std=c++20", "-I", kernels, source, "-o", program]);
  assert.equal(execFileSync(program, { encoding: "utf8" }), "done\n");
});

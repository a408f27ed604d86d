import assert from "node:assert/strict";
import { test } from "node:test";
import { refuseQuantised } from "../../src/convert/already-quantised.ts";
import type { JsonValue } from "../../src/safetensors/json.ts";

const config = (members: Readonly<Record<string, JsonValue>>, key = "quantization_config") =>
  new Map<string, JsonValue>([[key, new Map(Object.entries(members))]]);
const tensor = (name: string, dtype: "F16" | "U8" | "I8" | "I32") => ({ name, dtype, shape: [16, 16] });

for (const [name, members, files, tensors, method] of [
  ["GPTQ", config({ quant_method: "gptq" }), [], [], "gptq"],
  ["AWQ", config({ quant_method: "awq" }), [], [], "awq"],
  ["bitsandbytes", config({ quant_method: "bitsandbytes" }), [], [], "bitsandbytes"],
  ["an old bitsandbytes", config({ load_in_8bit: true }), [], [], "bitsandbytes"],
  ["FP8", config({ quant_method: "fp8" }), [], [], "fp8"],
  ["compressed-tensors", config({ quant_method: "x" }, "compression_config"), [], [], "x"],
  ["our own", config({ nestedfp: new Map() }), [], [], "nestedfp"],
  ["a file of AutoGPTQ", new Map(), ["quantize_config.json"], [], "gptq"],
  ["packed words", new Map(), [], [tensor("a.q_proj.qweight", "I32")], "gptq or awq"],
  ["8-bit words", new Map(), [], [tensor("model.layers.0.self_attn.q_proj.weight", "I8")], "bitsandbytes"],
] as const) {
  test(`convert refuses ${name}`, () => {
    assert.throws(() => refuseQuantised('"m"', members, files, tensors), {
      name: "FormatError",
      message: new RegExp(`^"m" is already quantised with ${method} \\(.*[^.]$`),
      hint: /the 16-bit model it was made from|gives the source back/,
    });
  });
}

test("convert takes 16-bit words without such a configuration", () => {
  const weight = tensor("model.layers.0.self_attn.q_proj.weight", "F16");
  refuseQuantised('"m"', new Map([["quantization_config", null]]), ["config.json"], [weight]);
});

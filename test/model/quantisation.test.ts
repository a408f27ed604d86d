import assert from "node:assert/strict";
import { test } from "node:test";
import { JsonFields } from "../../src/model/json-fields.ts";
import { refuseOtherQuantisation } from "../../src/model/quantisation.ts";

function check(config: object): void {
  const bytes = new TextEncoder().encode(JSON.stringify(config));
  refuseOtherQuantisation(JsonFields.parse(bytes, "config.json", "python"));
}

for (const [name, config, problem] of [
  ["GPTQ", { quantization_config: { quant_method: "gptq", bits: 4 } }, '"quantization_config" is of "gptq"'],
  ["AWQ", { quantization_config: { quant_method: "awq" } }, '"quantization_config" is of "awq"'],
  ["an old bitsandbytes", { quantization_config: { load_in_8bit: true } }, "of an unnamed method"],
  [
    "bitsandbytes",
    { quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } },
    'of "bitsandbytes"',
  ],
  ["FP8 of others", { quantization_config: { quant_method: "fp8" } }, '"quantization_config" is of "fp8"'],
  [
    "packed compressed-tensors",
    { compression_config: { quant_method: "compressed-tensors", format: "pack-quantized" } },
    '"compression_config" is of "compressed-tensors" ("pack-quantized")',
  ],
  [
    "a language model inside",
    { text_config: { quantization_config: { quant_method: "awq" } } },
    '"text_config.quantization_config" is of "awq"',
  ],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => check(config), {
      name: "FormatError",
      message: new RegExp(`^"config.json": .*${problem.replace(/[()]/g, "\\$&")}, which is not supported$`),
    });
  });
}

for (const [name, config] of [
  ["none", {}],
  ["null", { quantization_config: null }],
  ["our own", { quantization_config: { quant_method: "compressed-tensors", nestedfp: {} } }],
  [
    "the FP8 view of ours without our member",
    { quantization_config: { quant_method: "compressed-tensors", format: "float-quantized" } },
  ],
] as const) {
  test(`accepts ${name}`, () => check(config));
}

import { quote } from "../safetensors/quote.ts";
import type { JsonFields } from "./json-fields.ts";

/**
 * Refuses a model whose weights are stored in a way that is not read here. What `nestedfp convert` wrote is told by its
 * own member; FP8 of compressed-tensors may be its FP8 view, whose scales are looked at when they are read.
 * @throws FormatError that names the method
 */
export function refuseOtherQuantisation(config: JsonFields): void {
  for (const key of ["quantization_config", "compression_config"]) {
    // A model of text and images has its language model's configuration inside.
    for (const scope of [config, config.object("text_config")]) {
      const quantisation = scope?.object(key);
      if (quantisation === undefined || quantisation.has("nestedfp")) continue;
      const method = quantisation.string("quant_method");
      const format = quantisation.string("format");
      if (method === "compressed-tensors" && format === "float-quantized") continue;
      const named = method === undefined ? "an unnamed method" : quote(method);
      config.fail(
        `${scope?.name(key)} is of ${named}${format === undefined ? "" : ` (${quote(format)})`}, which is not supported`,
        "evaluate the 16-bit model it was made from, or a directory that `nestedfp convert` wrote",
      );
    }
  }
}

import type { Manifest, ManifestHead } from "../convert/manifest.ts";
import { formatBytes, formatShare, printable } from "./format.ts";
import { markdownTable } from "./table.ts";

/** One line of a perplexity table. */
export type CardPerplexity = {
  readonly precision: string;
  readonly ppl: number;
  readonly ppl_stderr: number | null;
  /** Against fp16 on the same ids. */
  readonly ppl_ratio: number | null;
};

export type CardFacts = {
  /** `org/name` of the repository that the card is for. */
  readonly repo: string;
  readonly manifest: ManifestHead | Manifest;
  /** Whether the lower files are published too. */
  readonly hasLower: boolean;
  /** Front matter of the source's own card: lines such as `license: mit`. */
  readonly licence: readonly string[];
  /** Files whose sha256 was checked just before. */
  readonly verifiedFiles: number;
  readonly tool: string;
  readonly evaluation: { readonly how: string; readonly rows: readonly CardPerplexity[] } | undefined;
};

/** The README.md of a published conversion, from what its manifest says. */
export function modelCard(facts: CardFacts): string {
  return [
    frontMatter(facts),
    `# ${facts.repo.split("/").at(-1)}`,
    introduction(facts),
    "## What is in it",
    contents(facts.manifest),
    `Checked before upload: sha256 of all ${facts.verifiedFiles} files, headers, index and configuration (${facts.tool}).`,
    "## Load it as FP8",
    loading(facts),
    ...restoring(facts),
    ...perplexities(facts),
    "",
  ].join("\n\n");
}

function frontMatter({ manifest: { source }, licence }: CardFacts): string {
  const base = source.repo === null ? [] : [`base_model: ${source.repo}`, "base_model_relation: quantized"];
  const tags = ["tags:", "- nestedfp", "- fp8", "- compressed-tensors"];
  return ["---", ...base, ...licence, "library_name: transformers", ...tags, "---"].join("\n");
}

function introduction({ manifest: { source, restorable }, hasLower }: CardFacts): string {
  const of =
    source.repo === null
      ? "a 16-bit model"
      : `[${source.repo}](https://huggingface.co/${source.repo}) at commit \`${source.revision}\``;
  const both =
    hasLower && restorable ? ", and with the files below `nestedfp/` the exact 16-bit model again" : "";
  return `A [NestedFP](https://arxiv.org/abs/2506.02024) checkpoint of ${of}: an ordinary FP8 (E4M3) checkpoint${both}.`;
}

function contents({ summary, source, files, restorable }: CardFacts["manifest"]): string {
  const bytesOf = (role: string): number =>
    files.filter((file) => file.role === role).reduce((sum, { size }) => sum + size, 0);
  const reasons = Object.entries(summary.reasons).map(([reason, count]) => `${reason} ${count}`);
  const rows = [
    [
      "weights split",
      `${summary.split} tensors, ${formatShare(summary.coverage)} of the words that could be`,
    ],
    ["weights kept", `${summary.kept} tensors${reasons.length > 0 ? `: ${reasons.join(", ")}` : ""}`],
    ["source", formatBytes(source.files.reduce((sum, { size }) => sum + size, 0))],
    ["FP8 view", formatBytes(bytesOf("upper"))],
    ["residual bytes", formatBytes(bytesOf("lower"))],
    ["restore", restorable ? "every source file byte for byte" : "not possible: words were dropped as asked"],
  ] as const;
  return markdownTable(
    [
      { title: "", value: ([name]: readonly [string, string]) => name },
      { title: "", value: ([, value]: readonly [string, string]) => printable(value) },
    ],
    rows,
  );
}

function loading({ repo }: CardFacts): string {
  return [
    "`quantization_config` is compressed-tensors `float-quantized`, one scale per row. It is checked in transformers with",
    "compressed-tensors; other engines that read this format have not been run with it. The residual bytes are not needed:",
    "",
    `    hf download ${repo} --exclude 'nestedfp/*.nfp'`,
  ].join("\n");
}

function restoring({ repo, manifest: { restorable }, hasLower }: CardFacts): string[] {
  if (!restorable || !hasLower) return [];
  const commands = [
    `    hf download ${repo} --local-dir nested`,
    "    nestedfp verify nested",
    "    nestedfp restore nested -o restored",
  ];
  return ["## Restore the 16-bit model", commands.join("\n")];
}

function perplexities({ evaluation }: CardFacts): string[] {
  if (evaluation === undefined) return [];
  const digits = (value: number | null, count: number): string =>
    value === null ? "" : value.toFixed(count);
  const table = markdownTable<CardPerplexity>(
    [
      { title: "precision", value: (row) => row.precision },
      { title: "PPL", align: "right", value: (row) => digits(row.ppl, 4) },
      { title: "+/-", align: "right", value: (row) => digits(row.ppl_stderr, 4) },
      { title: "ratio", align: "right", value: (row) => digits(row.ppl_ratio, 5) },
    ],
    evaluation.rows,
  );
  return ["## Perplexity", table, evaluation.how];
}

import type { BenchResult } from "../bench/result.ts";
import type { Summary } from "../bench/summary.ts";
import { conditions } from "./benchmark.ts";
import { printable } from "./format.ts";

/**
 * Speed against fp16 over M as an SVG drawing: for each kernel the geometric mean over the shapes as a line, and the
 * range from the worst to the best shape as a band. Colours follow the reader's light or dark scheme.
 */
export function benchPlot(result: BenchResult): string {
  const lines = result.summary.filter(
    ({ baseline, config, with_quantise }) => baseline === "fp16" && config === null && !with_quantise,
  );
  const shapes = new Set(result.rows.map(({ n, k }) => `${n}x${k}`)).size;
  const subtitle = `geometric mean of ${shapes} ${shapes === 1 ? "weight shape" : "weight shapes"}, band: worst to best shape`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" role="img">`,
    `<title>Linear layers against FP16 on ${escaped(result.device.name)}</title>`,
    `<style>${style}</style>`,
    `<rect class="paper" width="${width}" height="${height}" rx="8"/>`,
    text(left, 32, "title", `Linear layers: times as fast as FP16${baselineOf(result)}`),
    text(left, 53, "note", subtitle),
    ...(lines.length === 0 ? [text(left, 120, "note", "no kernel was timed beside fp16")] : drawn(lines)),
    text(left, height - 14, "small", conditions(result)),
    "</svg>",
    "",
  ].join("\n");
}

/** " (cublaslt)": what FP16 ran, where that is one thing. */
function baselineOf({ rows }: BenchResult): string {
  const configs = new Set(
    rows.flatMap(({ kernel, config }) => (kernel === "fp16" && config ? [config] : [])),
  );
  return configs.size === 1 ? ` (${[...configs][0]})` : "";
}

const width = 860;
const height = 480;
const [left, right, top, bottom] = [56, 170, 84, 76];
const plotWidth = width - left - right;
const plotHeight = height - top - bottom;

/** Colours of lines by kernel, for light and for dark paper. */
const colours: Readonly<Record<string, readonly [string, string]>> = {
  "nested-fp16": ["#1d5fd1", "#6ba6ff"],
  "nested-fp8": ["#c2410c", "#ff9d5c"],
  fp8: ["#5b6472", "#a3adba"],
};

const style = [
  ".paper{fill:#fff;stroke:#d8dce2}.title{font-size:17px;font-weight:600;fill:#1b1f24}",
  ".note{font-size:13px;fill:#4a5360}.small{font-size:11px;fill:#5f6977}.tick{font-size:12px;fill:#4a5360}",
  ".grid{stroke:#e6e9ed}.unit{stroke:#1b1f24;stroke-width:1.2;stroke-dasharray:5 4}",
  ".line{fill:none;stroke-width:2.4;stroke-linejoin:round}.band{opacity:.13}.label{font-size:13px;font-weight:600}",
  ...Object.entries(colours).map(([kernel, [light]]) => colouring(kernel, light)),
  "@media (prefers-color-scheme:dark){.paper{fill:#15181d;stroke:#30363d}.title{fill:#eceff3}.note,.tick{fill:#b4bcc7}",
  ".small{fill:#97a1ae}.grid{stroke:#2a3038}.unit{stroke:#eceff3}.band{opacity:.2}",
  ...Object.entries(colours).map(([kernel, [, dark]]) => colouring(kernel, dark)),
  "}",
].join("");

function colouring(kernel: string, colour: string): string {
  return `.line.${kernel}{stroke:${colour}}.fill.${kernel}{fill:${colour}}`;
}

function drawn(lines: readonly Summary[]): string[] {
  const ms = [...new Set(lines.flatMap(({ per_m }) => per_m.map(({ m }) => m)))].sort((a, b) => a - b);
  const ratios = lines.flatMap(({ per_m }) => per_m.flatMap(({ worst, best }) => [worst.ratio, best.ratio]));
  const ticks = niceTicks(Math.min(1, ...ratios), Math.max(1, ...ratios));
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const [first, last] = [Math.log2(ms[0] ?? 1), Math.log2(ms.at(-1) ?? 1)];
  const x = (m: number): number =>
    last === first ? left + plotWidth / 2 : left + (plotWidth * (Math.log2(m) - first)) / (last - first);
  const y = (ratio: number): number => top + plotHeight * (1 - (ratio - low) / (high - low));
  return [
    ...ticks.map((tick) => rule("grid", y(tick))),
    ...ticks.map((tick) => text(left - 9, y(tick) + 4, "tick", `${Number(tick.toFixed(2))}x`, "end")),
    ...spaced(
      ms.map((m) => ({ at: x(m), value: m })),
      34,
    ).map(({ at, value }) => text(at, top + plotHeight + 20, "tick", String(value), "middle")),
    text(left + plotWidth, top + plotHeight + 37, "small", "M, tokens at a time", "end"),
    rule("unit", y(1)),
    ...lines.map((line) => band(line, x, y)),
    ...lines.map((line) => curve(line, x, y)),
    ...labels(lines, y),
  ];
}

type Scale = (value: number) => number;

function band({ kernel, per_m }: Summary, x: Scale, y: Scale): string {
  const upper = per_m.map(({ m, best }) => `${point(x(m))},${point(y(best.ratio))}`);
  const lower = per_m.map(({ m, worst }) => `${point(x(m))},${point(y(worst.ratio))}`).reverse();
  return `<polygon class="band fill ${kernel}" points="${[...upper, ...lower].join(" ")}"/>`;
}

function curve({ kernel, per_m }: Summary, x: Scale, y: Scale): string {
  const points = per_m.map(({ m, geomean }) => [point(x(m)), point(y(geomean))] as const);
  return [
    `<polyline class="line ${kernel}" points="${points.map((pair) => pair.join()).join(" ")}"/>`,
    ...points.map(([cx, cy]) => `<circle class="fill ${kernel}" cx="${cx}" cy="${cy}" r="3.2"/>`),
  ].join("\n");
}

// Of two lines of text.
const labelPitch = 37;

/** Name and overall mean at the end of each line, pushed apart where lines end close together. */
function labels(lines: readonly Summary[], y: Scale): string[] {
  const wanted = lines
    .map((line) => ({ line, at: y(line.per_m.at(-1)?.geomean ?? 1) }))
    .sort((a, b) => a.at - b.at);
  const lowest = top + plotHeight - 12;
  let [previous, room] = [Number.NEGATIVE_INFINITY, wanted.length];
  return wanted.map(({ line, at }) => {
    room--;
    const free = Math.min(Math.max(at, previous + labelPitch), lowest - room * labelPitch);
    previous = free;
    const mean = line.bands.all?.geomean.toFixed(2) ?? "";
    const labelX = left + plotWidth + 14;
    return [
      text(labelX, free, `label fill ${line.kernel}`, line.kernel),
      text(labelX, free + 15, "small", `${mean}x over all points`),
    ].join("\n");
  });
}

function rule(name: string, at: number): string {
  return `<line class="${name}" x1="${left}" x2="${left + plotWidth}" y1="${point(at)}" y2="${point(at)}"/>`;
}

function text(x: number, y: number, name: string, content: string, anchor = "start"): string {
  return `<text class="${name}" x="${point(x)}" y="${point(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

/** Round numbers around a range, some four to eight of them. */
function niceTicks(low: number, high: number): number[] {
  const raw = Math.max(high - low, 0.1) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: Math.max(1, last - first) + 1 }, (_, i) => (first + i) * step);
}

/** Those that are far enough from the one before. */
function spaced<Item extends { readonly at: number }>(items: readonly Item[], distance: number): Item[] {
  const kept: Item[] = [];
  for (const item of items) {
    const last = kept.at(-1);
    if (last === undefined || item.at - last.at >= distance) kept.push(item);
  }
  return kept;
}

function point(value: number): string {
  return String(Math.round(10 * value) / 10);
}

/** Text for an XML document, safe for a terminal too. */
function escaped(content: string): string {
  return printable(content).replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}

export type Column<Row> = {
  readonly title: string;
  readonly align?: "left" | "right";
  readonly value: (row: Row) => string;
};

/** Rows as text with aligned columns, two spaces apart, without trailing blanks. */
export function textTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => column.value(row))),
  ];
  const widths = columns.map((_, i) =>
    cells.reduce((width, line) => Math.max(width, [...(line[i] ?? "")].length), 0),
  );
  return cells
    .map((line) =>
      line
        .map((cell, i) => {
          const blanks = " ".repeat((widths[i] ?? 0) - [...cell].length);
          return columns[i]?.align === "right" ? blanks + cell : cell + blanks;
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** The same rows as a Markdown table. */
export function markdownTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replace(/[\\|]/g, "\\$&")).join(" | ")} |`;
  return [
    line(columns.map((column) => column.title)),
    line(columns.map((column) => (column.align === "right" ? "---:" : "---"))),
    ...rows.map((row) => line(columns.map((column) => column.value(row)))),
  ].join("\n");
}

/** The same rows as CSV (RFC 4180). */
export function csvTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const line = (cells: readonly string[]): string => cells.map(csvCell).join(",");
  return [
    line(columns.map((column) => column.title)),
    ...rows.map((row) => line(columns.map((column) => column.value(row)))),
  ].join("\r\n");
}

function csvCell(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

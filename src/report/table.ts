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

/**
 * As {@link textTable}; columns that lines of `width` characters have no room for go into further tables below, each
 * of which begins with the first column.
 */
export function textTables<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number,
): string {
  const [key, ...others] = columns;
  if (key === undefined) return "";
  const groups: Column<Row>[][] = [];
  for (const column of others) {
    const wider = [...(groups.at(-1) ?? [key]), column];
    const line = textTable(wider, rows)
      .split("\n")
      .reduce((most, text) => Math.max(most, [...text].length), 0);
    if (groups.length > 0 && line <= width) groups.splice(-1, 1, wider);
    else groups.push([key, column]);
  }
  return groups.map((group) => textTable(group, rows)).join("\n\n");
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

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Column } from "../../src/report/table.ts";
import { csvTable, markdownTable, textTable, textTables } from "../../src/report/table.ts";

type Row = { readonly name: string; readonly size: number };

const columns: readonly Column<Row>[] = [
  { title: "name", value: (row) => row.name },
  { title: "size", align: "right", value: (row) => String(row.size) },
  { title: "note", value: (row) => (row.size > 5 ? "large" : "") },
];
const rows: readonly Row[] = [
  { name: "a", size: 1 },
  { name: "a longer name", size: 100_000 },
  { name: "𝔞é", size: 10 },
];

test("text: columns aligned by characters, two blanks apart, none at the end", () => {
  assert.equal(
    textTable(columns, rows),
    [
      "name             size  note",
      "a                   1",
      "a longer name  100000  large",
      "𝔞é                 10  large",
    ].join("\n"),
  );
  assert.equal(textTable(columns, []), "name  size  note");
});

test("text: a table too wide is told in parts, each with the first column", () => {
  const parts = [
    ["name             size", "a                   1", "a longer name  100000", "𝔞é                 10"],
    ["name           note", "a", "a longer name  large", "𝔞é             large"],
  ].map((lines) => lines.join("\n"));
  assert.equal(textTables(columns, rows, 27), parts.join("\n\n"));
  assert.equal(textTables(columns, rows, 28), textTable(columns, rows));
  assert.equal(textTables(columns, rows, 1), parts.join("\n\n"));
});

test("text: a row for each of very many tensors", () => {
  const many = Array.from({ length: 200_000 }, (_, size) => ({ name: "n", size }));
  assert.equal(textTable(columns, many).split("\n").length, 200_001);
});

test("Markdown: what would end a cell is escaped", () => {
  const odd = [{ name: String.raw`a|b\|c\u001b`, size: 1 }];
  assert.equal(
    markdownTable(columns, odd),
    ["| name | size | note |", "| --- | ---: | --- |", String.raw`| a\|b\\\|c\\u001b | 1 |  |`].join("\n"),
  );
});

test("CSV: as RFC 4180 quotes", () => {
  const odd = ['q"uote', "com,ma", "new\nline", "carriage\rreturn", "plain; text"].map((name) => ({
    name,
    size: 1,
  }));
  assert.equal(
    csvTable(columns, odd),
    [
      "name,size,note",
      '"q""uote",1,',
      '"com,ma",1,',
      '"new\nline",1,',
      '"carriage\rreturn",1,',
      "plain; text,1,",
    ].join("\r\n"),
  );
});

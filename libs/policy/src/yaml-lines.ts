// SPDX-License-Identifier: Apache-2.0
// Where each path of an object stands in the YAML that kubectl prints: keys sorted, list items not indented below
// their key, long plain texts folded at 80 columns, texts with line breaks as literal blocks.

const FOLD_COLUMN = 80;

/** Line numbers by path (`egress[0].toPorts[0]`); the first line below `spec:` is 1. A list item's line is that of its dash. */
export function yamlLines(block: unknown): Map<string, number> {
  const lines = new Map<string, number>();
  // Inside an object printed below `spec:`, so indented by 2; `specs:` holds a list at the same column as its key.
  if (Array.isArray(block)) printList(block, '', 0, 1, lines);
  else if (isObject(block)) printObject(block, '', 2, 1, lines);
  return lines;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function printObject(
  object: Record<string, unknown>,
  path: string,
  indent: number,
  first: number,
  lines: Map<string, number>,
): number {
  let line = first;
  for (const key of Object.keys(object).sort(compareKeys)) {
    const value = object[key];
    if (value === undefined) continue;
    const inner = path === '' ? key : `${path}.${key}`;
    lines.set(inner, line);
    if (isEmpty(value)) line++;
    else if (Array.isArray(value)) line = printList(value, inner, indent, line + 1, lines);
    else if (isObject(value)) line = printObject(value, inner, indent + 2, line + 1, lines);
    else line += scalarLines(value, indent + key.length + 2, indent + 2);
  }
  return line;
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
}

function printList(
  list: unknown[],
  path: string,
  indent: number,
  first: number,
  lines: Map<string, number>,
): number {
  let line = first;
  list.forEach((item, index) => {
    const inner = `${path}[${index}]`;
    lines.set(inner, line);
    if (isObject(item) && Object.keys(item).length > 0)
      line = printObject(item, inner, indent + 2, line, lines);
    else if (Array.isArray(item) && item.length > 0) line = printList(item, inner, indent + 2, line, lines);
    else line += scalarLines(item, indent + 2, indent + 2);
  });
  return line;
}

function scalarLines(value: unknown, column: number, indent: number): number {
  if (typeof value !== 'string') return 1;
  if (value.includes('\n')) return literalLines(value);
  let lines = 1;
  let at = column;
  const words = value.split(' ');
  words.forEach((word, index) => {
    // A fold stands for a single space, between words, once the line has grown past the column.
    if (index > 0 && at > FOLD_COLUMN && word !== '' && words[index - 1] !== '') {
      lines++;
      at = indent;
    } else if (index > 0) {
      at++;
    }
    at += word.length;
  });
  return lines;
}

function literalLines(value: string): number {
  const body = value.replace(/\n+$/, '');
  const trailing = value.length - body.length;
  return 1 + body.split('\n').length + Math.max(0, trailing - 1);
}

/** The order of kubectl's YAML: letters by code, runs of digits by value. */
function compareKeys(a: string, b: string): number {
  const left = a.match(/\d+|\D/g) ?? [];
  const right = b.match(/\d+|\D/g) ?? [];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const x = left[i]!;
    const y = right[i]!;
    if (x === y) continue;
    if (/^\d/.test(x) && /^\d/.test(y)) return Number(x) - Number(y) || x.length - y.length;
    const xLetter = /[A-Za-z]/.test(x);
    const yLetter = /[A-Za-z]/.test(y);
    if (xLetter !== yLetter) return xLetter ? 1 : -1;
    return x < y ? -1 : 1;
  }
  return left.length - right.length;
}

// SPDX-License-Identifier: Apache-2.0

export interface ColumnOptions {
  /** Blanks after the widest cell of a column. */
  readonly padding?: number;
  readonly minWidth?: number;
}

/** Aligns rows of cells in columns, as users of tab writers know it; the last cell of a row is not padded. */
export function formatColumns(rows: readonly (readonly string[])[], options: ColumnOptions = {}): string {
  const { padding = 3, minWidth = 5 } = options;
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      if (i < row.length - 1) widths[i] = Math.max(widths[i] ?? 0, cell.length + padding, minWidth);
    });
  }
  return rows
    .map(
      (row) =>
        row
          .map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]!) : cell))
          .join('')
          .trimEnd() + '\n',
    )
    .join('');
}

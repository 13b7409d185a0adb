// SPDX-License-Identifier: Apache-2.0
import { formatColumns, formatValue } from '@cilium-ts/terminal';

export interface OutputOptions {
  readonly output?: string;
}

export function print(text: string): void {
  process.stdout.write(text);
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Prints the value in the format of `-o`; false where none was asked for. */
export async function printValue(value: unknown, options: OutputOptions): Promise<boolean> {
  if (options.output === undefined) return false;
  print(await formatValue(value, options.output));
  return true;
}

export function printTable(rows: readonly (readonly string[])[]): void {
  print(formatColumns(rows));
}

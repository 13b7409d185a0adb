// SPDX-License-Identifier: Apache-2.0
import { cpus, release, totalmem } from 'node:os';
import type { BenchRow } from './bench.ts';

/** The JSON object that every bench prints. */
export interface BenchReport {
  readonly bench: string;
  readonly machine: string;
  /** ISO 8601 */
  readonly date: string;
  readonly rows: readonly BenchRow[];
}

/** `2 x AMD EPYC, 23 GiB, Linux 6.18.44` */
export function machineName(): string {
  const list = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${list.length} x ${list[0]?.model.trim() ?? 'CPU'}, ${gib} GiB, Linux ${release()}`;
}

function figure(value: number | null): string {
  if (value === null) return '-';
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

function verdict(met: boolean | null): string {
  return met === null ? '' : met ? 'met' : 'MISSED';
}

/** A table for people. */
export function formatReport(report: BenchReport): string {
  const sign = (row: BenchRow): string =>
    row.goal === null ? '-' : `${row.better === 'higher' ? '>=' : '<='} ${row.goal}`;
  const lines = [
    ['CASE', 'UNIT', 'OURS', 'PEER', 'RATIO', 'GOAL', ''],
    ...report.rows.map((row) => [
      row.case,
      row.unit,
      figure(row.ours),
      row.peerName === null ? '-' : `${figure(row.peer)} (${row.peerName})`,
      figure(row.ratio),
      sign(row),
      verdict(row.met),
    ]),
  ];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const table = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  return [`${report.bench}: ${report.machine}, ${report.date}`, ...table].join('\n');
}

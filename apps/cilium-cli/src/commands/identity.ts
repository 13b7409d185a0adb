// SPDX-License-Identifier: Apache-2.0
import type { IdentityModel, IdentityUseModel } from '@cilium-ts/agent-api';
import { AppError } from '@cilium-ts/base';
import { ask } from '../agent-client.ts';
import { printTable, printValue, type OutputOptions } from '../print.ts';

/** One label per row; the number only on the first. */
export function identityRows(
  identities: readonly IdentityModel[],
  counts?: ReadonlyMap<number, number>,
): string[][] {
  const rows: string[][] = [counts ? ['ID', 'LABELS', 'REFCOUNT'] : ['ID', 'LABELS']];
  for (const { id, labels } of [...identities].sort((a, b) => a.id - b.id)) {
    const [first = '', ...more] = labels;
    const count = counts ? [String(counts.get(id) ?? 0)] : [];
    rows.push([String(id), first, ...count]);
    for (const label of more) rows.push(['', label]);
  }
  return rows;
}

export async function list(options: OutputOptions & { readonly endpoints?: boolean }): Promise<void> {
  if (options.endpoints) {
    const uses = await ask<IdentityUseModel[]>('/identity/endpoints');
    if (await printValue(uses, options)) return;
    const counts = new Map(uses.map((use) => [use.identity.id, use.refCount]));
    printTable(
      identityRows(
        uses.map((use) => use.identity),
        counts,
      ),
    );
    return;
  }
  const identities = await ask<IdentityModel[]>('/identity');
  if (await printValue(identities, options)) return;
  printTable(identityRows(identities));
}

export async function get(id: string, options: OutputOptions): Promise<void> {
  if (!/^\d+$/.test(id)) throw new AppError('bad-usage', `identity get: not a number: ${JSON.stringify(id)}`);
  const identity = await ask<IdentityModel>(`/identity/${id}`);
  if (await printValue([identity], options)) return;
  printTable(identityRows([identity]));
}

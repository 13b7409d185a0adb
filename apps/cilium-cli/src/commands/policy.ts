// SPDX-License-Identifier: Apache-2.0
import type { PolicyModel, SelectorModel } from '@cilium-ts/agent-api';
import { ask } from '../agent-client.ts';
import { printLine, printTable, printValue, type OutputOptions } from '../print.ts';

export async function get(options: OutputOptions): Promise<void> {
  const policy = await ask<PolicyModel>('/policy');
  if (await printValue(policy, options)) return;
  printLine(policy.policy);
  printLine(`Revision: ${policy.revision}`);
}

function ownerOf({ labels }: SelectorModel): string {
  const value = (key: string): string => labels.find((label) => label.key === key)?.value ?? '';
  const namespace = value('io.cilium.k8s.policy.namespace');
  return `${namespace === '' ? '' : `${namespace}/`}${value('io.cilium.k8s.policy.name')}`;
}

/** One identity per row. */
export function selectorRows(selectors: readonly SelectorModel[], verbose: boolean): string[][] {
  const rows = [['SELECTOR', 'LABELS', 'USERS', 'IDENTITIES']];
  for (const selector of selectors) {
    const [first = '', ...more] = selector.identities.map(String);
    const labels = verbose
      ? selector.labels.map((label) => `${label.source}:${label.key}=${label.value}`).join(',')
      : ownerOf(selector);
    rows.push([selector.selector, labels, String(selector.users), first]);
    for (const identity of more) rows.push(['', '', '', identity]);
  }
  return rows;
}

export async function selectors(options: OutputOptions & { readonly verbose?: boolean }): Promise<void> {
  const models = await ask<SelectorModel[]>('/policy/selectors');
  if (await printValue(models, options)) return;
  printTable(selectorRows(models, options.verbose === true));
}

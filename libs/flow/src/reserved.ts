// SPDX-License-Identifier: Apache-2.0

const NAMES: Readonly<Record<number, string>> = {
  1: 'host',
  2: 'world',
  3: 'unmanaged',
  4: 'health',
  5: 'init',
  6: 'remote-node',
  7: 'kube-apiserver',
  8: 'ingress',
  9: 'world-ipv4',
  10: 'world-ipv6',
};

export function reservedIdentityName(identity: number): string | undefined {
  return NAMES[identity];
}

/** Number of a reserved name; `encrypted-overlay` is accepted although it is printed as a number. */
export function reservedIdentityNumber(name: string): number | undefined {
  if (name === 'encrypted-overlay') return 11;
  const found = Object.entries(NAMES).find(([, known]) => known === name);
  return found && Number(found[0]);
}

// SPDX-License-Identifier: Apache-2.0
// From candidate rows to map entries. A longest-prefix map returns the longest match, not the highest precedence, so
// the rows must keep one invariant: where one key covers another, its precedence is not higher.
import type { Direction, Origin, RuleSetEntry, Verdict } from './rule-set.ts';

/** A row that some rule asks for, before pruning. */
export interface Candidate {
  readonly direction: Direction;
  readonly identity: number;
  readonly protocol: number;
  readonly port: number;
  readonly portPrefix: number;
  readonly verdict: Verdict;
  readonly rank: number;
  readonly origin: Origin | undefined;
}

/** Precedence of the one level that these kinds have, with the rank inside it. */
export function precedenceOf(rank: number): number {
  return 0xffff_ff00 + rank;
}

/** Below everything a rule gives: the allow-all of a direction that is not in default deny. */
export const PRECEDENCE_DEFAULT = 1;

/** Splits an inclusive port range into masked blocks; the whole range is one block of prefix 0. */
export function maskedPorts(from: number, to: number): { port: number; portPrefix: number }[] {
  const blocks: { port: number; portPrefix: number }[] = [];
  let start = from;
  while (start <= to) {
    let size = 1;
    let prefix = 16;
    while (prefix > 0 && start % (size * 2) === 0 && start + size * 2 - 1 <= to) {
      size *= 2;
      prefix--;
    }
    blocks.push({ port: start, portPrefix: prefix });
    start += size;
  }
  return blocks;
}

/** Text order of origins: makes the choice between equal rules independent of their order of arrival. */
export function compareOrigins(a: Origin | undefined, b: Origin | undefined): number {
  if (!a || !b) return Number(a !== undefined) - Number(b !== undefined);
  const left = [a.kind, a.namespace ?? '', a.name, a.path];
  const right = [b.kind, b.namespace ?? '', b.name, b.path];
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return left[i]! < right[i]! ? -1 : 1;
  return 0;
}

function prefixBits(row: Candidate): number {
  return row.protocol === 0 ? 0 : 8 + row.portPrefix;
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

function compareCandidates(a: Candidate, b: Candidate): number {
  return (
    b.rank - a.rank ||
    DIRECTIONS.indexOf(a.direction) - DIRECTIONS.indexOf(b.direction) ||
    prefixBits(a) - prefixBits(b) ||
    a.identity - b.identity ||
    a.protocol - b.protocol ||
    a.port - b.port ||
    compareOrigins(a.origin, b.origin)
  );
}

/** Numeric key of protocol and port; fits a double's 53 bits together with the identity. */
function portKey(protocol: number, port: number, portPrefix: number): number {
  return protocol === 0 ? 0 : (protocol * 32 + portPrefix + 1) * 65536 + port;
}

class Rows {
  readonly #byIdentity = new Map<number, Map<number, Candidate>>();

  /** The row at exactly this key. */
  #at(identity: number, key: number): Candidate | undefined {
    return this.#byIdentity.get(identity)?.get(key);
  }

  add(row: Candidate): void {
    let rows = this.#byIdentity.get(row.identity);
    if (!rows) this.#byIdentity.set(row.identity, (rows = new Map()));
    rows.set(portKey(row.protocol, row.port, row.portPrefix), row);
  }

  /** Calls for every row whose key covers that of `row`, itself included. */
  someCovering(row: Candidate, test: (covering: Candidate) => boolean): boolean {
    const identities = row.identity === 0 ? [0] : [0, row.identity];
    for (const identity of identities) {
      if (!this.#byIdentity.has(identity)) continue;
      const whole = this.#at(identity, 0);
      if (whole && test(whole)) return true;
      if (row.protocol === 0) continue;
      for (let prefix = 0; prefix <= row.portPrefix; prefix++) {
        const port = prefix === 0 ? 0 : row.port & ~((1 << (16 - prefix)) - 1) & 0xffff;
        const found = this.#at(identity, portKey(row.protocol, port, prefix));
        if (found && test(found)) return true;
      }
    }
    return false;
  }

  list(): Candidate[] {
    return [...this.#byIdentity.values()].flatMap((rows) => [...rows.values()]);
  }
}

/** Keeps of each direction's candidates what a lookup can need, in a stable order. */
export function pruneCandidates(candidates: readonly Candidate[]): Candidate[] {
  const rows = { ingress: new Rows(), egress: new Rows() };
  // Highest rank first: what is there already outranks or equals the new row, so nothing is ever taken out again.
  for (const row of [...candidates].sort(compareCandidates)) {
    const kept = rows[row.direction];
    const superfluous = kept.someCovering(row, (covering) => makesSuperfluous(covering, row));
    if (!superfluous) kept.add(row);
  }
  return [...rows.ingress.list(), ...rows.egress.list()].sort(compareKeys);
}

/** A covering row of higher rank wins anyway; an equal one does where it gives the same answer for the same key. */
function makesSuperfluous(covering: Candidate, row: Candidate): boolean {
  if (covering.rank > row.rank) return true;
  if (row.verdict === 'deny') return true;
  return (
    covering.protocol === row.protocol && covering.port === row.port && covering.portPrefix === row.portPrefix
  );
}

function compareKeys(a: Candidate, b: Candidate): number {
  return (
    DIRECTIONS.indexOf(a.direction) - DIRECTIONS.indexOf(b.direction) ||
    a.identity - b.identity ||
    a.protocol - b.protocol ||
    a.port - b.port ||
    a.portPrefix - b.portPrefix
  );
}

/** Numbers the origins in use and gives the rows their final form. */
export function toEntries(rows: readonly Candidate[]): { entries: RuleSetEntry[]; origins: Origin[] } {
  const origins: Origin[] = [];
  const numbers = new Map<string, number>();
  const number = (origin: Origin | undefined): number => {
    if (!origin) return 0;
    const key = `${origin.kind}/${origin.namespace ?? ''}/${origin.name}/${origin.path}`;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, origins.push(origin));
    return origins.length;
  };
  const entries = rows.map((row) => ({
    direction: row.direction,
    identity: row.identity,
    protocol: row.protocol,
    port: row.port,
    portPrefix: row.portPrefix,
    verdict: row.verdict,
    precedence: precedenceOf(row.rank),
    origin: number(row.origin),
  }));
  return { entries, origins };
}

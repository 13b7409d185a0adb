// SPDX-License-Identifier: Apache-2.0
// A rule set becomes map entries where identities are known. A longest-prefix map returns the longest match, not the highest
// precedence, so the entries keep one invariant: where one key covers another, its precedence is not higher. Entries of an
// identity depend on the rows that select it and on those for every peer, on no other identity: so one identity at a time
// can come and go.
import { IDENTITY_UNMANAGED } from '@cilium-ts/identity';
import { decide, type Outcome } from './decide.ts';
import { PRECEDENCE_DEFAULT, precedenceOf } from './level.ts';
import { originKey } from './origin.ts';
import { blockBits, blockKey, coveringKeys, maskedPorts } from './port-blocks.ts';
import type { PolicyFlow } from './lookup.ts';
import type { Direction, RuleRow, RuleSet, RuleSetEntry, Verdict } from './rule-set.ts';
import type { LabelSelector } from './selector.ts';

/** Identities that a selector selects now. */
export type Select = (selector: LabelSelector) => ReadonlySet<number>;

/** A row for one masked block of its ports; `cell` is what it puts into the map. */
interface Block {
  readonly row: RuleRow;
  readonly precedence: number;
  readonly key: number;
  readonly bits: number;
  readonly covering: readonly number[];
  readonly cell: Cell;
}

/** A map entry without its identity, shared by all identities that have it. */
interface Cell {
  readonly direction: Direction;
  readonly protocol: number;
  readonly port: number;
  readonly portPrefix: number;
  readonly verdict: Verdict;
  readonly precedence: number;
  readonly origin: number;
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];
const ANY = 0;
/** Where whole tables are worked out: what names the identity goes before what is for everybody. */
const PRECEDENCE_TABLE = 0x100;
/** A deny of no object is the default deny. */
const DEFAULT_DENY: Outcome = { verdict: 'deny', origin: 0 };

function compareBlocks(a: Block, b: Block): number {
  return (
    b.precedence - a.precedence ||
    a.bits - b.bits ||
    Number(a.row.selector !== ANY) - Number(b.row.selector !== ANY) ||
    a.row.origin - b.row.origin
  );
}

function blocksOf(ruleSet: RuleSet, direction: Direction): Block[] {
  const blocks: Block[] = [];
  for (const row of ruleSet.rows) {
    if (row.direction !== direction) continue;
    const { protocol, level, rank, origin } = row;
    const precedence = precedenceOf(level, rank);
    for (const { port, portPrefix } of maskedPorts(row.from, row.to)) {
      const verdict = row.verdict === 'pass' ? 'allow' : row.verdict;
      const prefix = protocol === 0 ? 0 : portPrefix;
      const cell = { direction, protocol, port, portPrefix: prefix, verdict, precedence, origin };
      const key = blockKey(protocol, port, prefix);
      const covering = coveringKeys(protocol, port, prefix);
      blocks.push({ row, precedence, key, bits: blockBits(protocol, prefix), covering, cell });
    }
  }
  return withoutRepeats(blocks.sort(compareBlocks));
}

/** Of rules that put the same entry for the same peers, the first one gives its name to it. */
function withoutRepeats(blocks: readonly Block[]): Block[] {
  const seen = new Set<string>();
  return blocks.filter(({ key, precedence, row }) => {
    if (row.audited) return true;
    const text = `${key} ${precedence} ${row.selector} ${row.verdict}`;
    return !seen.has(text) && seen.add(text) !== undefined;
  });
}

/** A covering entry of higher precedence wins anyway; an equal one does where it denies, or is for the same key. */
function superfluous(block: Block, covering: Cell, sameKey: boolean): boolean {
  if (covering.precedence !== block.precedence) return covering.precedence > block.precedence;
  return sameKey || block.cell.verdict === 'deny';
}

/** Key -> identity -> entry. */
type Cells = Map<number, Map<number, Cell>>;

function put(cells: Cells, key: number, identity: number, cell: Cell): void {
  const column = cells.get(key);
  if (column) column.set(identity, cell);
  else cells.set(key, new Map([[identity, cell]]));
}

/** Puts a block in for each identity, unless what is there already makes it needless. Blocks come highest precedence first. */
function place(cells: Cells, block: Block, identities: Iterable<number>): void {
  const { key, cell } = block;
  const covering: { column: Map<number, Cell>; sameKey: boolean }[] = [];
  for (const wide of block.covering) {
    const column = cells.get(wide);
    if (!column) continue;
    const sameKey = wide === key;
    const all = column.get(ANY);
    if (all && superfluous(block, all, sameKey)) return;
    covering.push({ column, sameKey });
  }
  let own = cells.get(key);
  for (const identity of identities) {
    let needless = false;
    for (const { column, sameKey } of covering) {
      const there = column.get(identity);
      if (there && superfluous(block, there, sameKey)) {
        needless = true;
        break;
      }
    }
    if (needless) continue;
    if (!own) cells.set(key, (own = new Map()));
    own.set(identity, cell);
  }
}

/** Pods that nobody has told of yet carry no labels, so every deny by label is taken to mean them. */
function mayMeanUnknownPods(selector: LabelSelector): boolean {
  return !selector.some(
    ({ source, operator }) =>
      (source === 'reserved' || source === 'cidr' || source === 'cidrgroup') &&
      (operator === 'Exists' || operator === 'In'),
  );
}

export interface MapChange {
  readonly upserts: RuleSetEntry[];
  readonly deletes: RuleSetEntry[];
}

export class MapState {
  readonly ruleSet: RuleSet;
  readonly #cells: Record<Direction, Cells> = { ingress: new Map(), egress: new Map() };
  readonly #blocks: Record<Direction, readonly Block[]>;
  readonly #auditOrigin: Record<Direction, number>;
  readonly #tabulated: boolean;

  constructor(ruleSet: RuleSet, select: Select) {
    this.ruleSet = ruleSet;
    this.#blocks = { ingress: blocksOf(ruleSet, 'ingress'), egress: blocksOf(ruleSet, 'egress') };
    this.#auditOrigin = { ingress: auditOrigin(ruleSet, 'ingress'), egress: auditOrigin(ruleSet, 'egress') };
    this.#tabulated =
      ruleSet.rows.some((row) => row.audited || row.verdict === 'pass') ||
      DIRECTIONS.some((direction) => ruleSet.auditedBy[direction].length > 0);
    for (const direction of DIRECTIONS) {
      if (this.#tabulated) this.#tabulateAll(direction, select);
      else this.#placeAll(direction, select);
    }
  }

  #selected(row: RuleRow, select: Select): ReadonlySet<number> {
    const selector = this.ruleSet.selectors[row.selector - 1]!;
    const identities = select(selector);
    if (row.verdict !== 'deny' || identities.has(IDENTITY_UNMANAGED) || !mayMeanUnknownPods(selector))
      return identities;
    return new Set([...identities, IDENTITY_UNMANAGED]);
  }

  #placeAll(direction: Direction, select: Select): void {
    const cells = this.#cells[direction];
    for (const block of this.#blocks[direction])
      place(cells, block, block.row.selector === ANY ? [ANY] : this.#selected(block.row, select));
    this.#addDefault(direction, cells);
  }

  /** A wildcard entry that is there already outranks the default and covers as much. */
  #addDefault(direction: Direction, cells: Cells): void {
    if (this.ruleSet.defaultDeny[direction] || cells.get(0)?.has(ANY)) return;
    const cell = { direction, protocol: 0, port: 0, portPrefix: 0, verdict: 'allow' as const, origin: 0 };
    put(cells, 0, ANY, { ...cell, precedence: PRECEDENCE_DEFAULT });
  }

  #tabulateAll(direction: Direction, select: Select): void {
    const identities = new Set([ANY]);
    const selected = new Map<RuleRow, ReadonlySet<number>>();
    for (const { row } of this.#blocks[direction]) {
      if (row.selector === ANY || selected.has(row)) continue;
      selected.set(row, this.#selected(row, select));
      for (const identity of selected.get(row)!) identities.add(identity);
    }
    for (const identity of identities) {
      const matches = (row: RuleRow): boolean => selected.get(row)?.has(identity) ?? false;
      for (const [key, cell] of this.#tabulate(direction, identity, matches))
        put(this.#cells[direction], key, identity, cell);
    }
  }

  /** The whole table of one identity: for each key that any row names, what decides in it outside of narrower keys. */
  #tabulate(direction: Direction, identity: number, matches: (row: RuleRow) => boolean): Map<number, Cell> {
    const blocks = this.#blocks[direction].filter(({ row }) => row.selector === ANY || matches(row));
    const keys = new Map<number, { covering: readonly number[]; cell: Cell }>();
    for (const { key, covering, cell } of blocks) keys.set(key, { covering, cell });
    const whole = { direction, protocol: 0, port: 0, portPrefix: 0, origin: 0 };
    if (!keys.has(0))
      keys.set(0, { covering: [0], cell: { ...whole, verdict: 'allow', precedence: PRECEDENCE_DEFAULT } });
    const byKey = Map.groupBy(blocks, ({ key }) => key);
    const table = new Map<number, Cell>();
    for (const [key, { covering, cell }] of keys) {
      const rows = covering.flatMap((wide) => byKey.get(wide) ?? []).sort(compareBlocks);
      const outcome = decide(
        this.ruleSet,
        direction,
        rows.map(({ row }) => row),
        this.#auditOrigin[direction],
      );
      // A miss inside of what a wider key allows must be said; nothing is wider than every port for everybody.
      if (outcome || key !== 0 || identity !== ANY)
        table.set(key, tableCell(cell, outcome ?? DEFAULT_DENY, identity));
    }
    return table;
  }

  /** Takes in what an identity is selected by now; returns what to write. `matches` is asked per selector of the rule set. */
  update(identity: number, matches: (selector: LabelSelector) => boolean): MapChange {
    const change: MapChange = { upserts: [], deletes: [] };
    const matchesRow = (row: RuleRow): boolean => {
      if (row.selector === ANY) return false;
      const selector = this.ruleSet.selectors[row.selector - 1]!;
      const unknownPods = identity === IDENTITY_UNMANAGED && row.verdict === 'deny';
      return matches(selector) || (unknownPods && mayMeanUnknownPods(selector));
    };
    for (const direction of DIRECTIONS) {
      const wanted = this.#tabulated
        ? this.#ownTable(direction, identity, matchesRow)
        : this.#ownCells(direction, identity, matchesRow);
      this.#replace(direction, identity, wanted, change);
    }
    return change;
  }

  /** Only identities that some row names have a table of their own. */
  #ownTable(direction: Direction, identity: number, matches: (row: RuleRow) => boolean): Map<number, Cell> {
    if (!this.#blocks[direction].some(({ row }) => matches(row))) return new Map();
    return this.#tabulate(direction, identity, matches);
  }

  #ownCells(direction: Direction, identity: number, matches: (row: RuleRow) => boolean): Map<number, Cell> {
    const wanted: Cells = new Map();
    const wild = this.#cells[direction];
    for (const [key, column] of wild) {
      const all = column.get(ANY);
      if (all && all.precedence !== PRECEDENCE_DEFAULT) put(wanted, key, ANY, all);
    }
    for (const block of this.#blocks[direction])
      if (block.row.selector !== ANY && matches(block.row)) place(wanted, block, [identity]);
    const own = new Map<number, Cell>();
    for (const [key, column] of wanted) {
      const cell = column.get(identity);
      if (cell) own.set(key, cell);
    }
    return own;
  }

  #replace(direction: Direction, identity: number, wanted: Map<number, Cell>, change: MapChange): void {
    const cells = this.#cells[direction];
    for (const [key, column] of cells) {
      const there = column.get(identity);
      if (!there || wanted.has(key)) continue;
      column.delete(identity);
      if (column.size === 0) cells.delete(key);
      change.deletes.push({ identity, ...there });
    }
    for (const [key, cell] of wanted) {
      const there = cells.get(key)?.get(identity);
      if (there && sameCell(there, cell)) continue;
      put(cells, key, identity, cell);
      change.upserts.push({ identity, ...cell });
    }
  }

  /** How many entries the map gets. */
  get size(): number {
    let size = 0;
    for (const direction of DIRECTIONS)
      for (const column of this.#cells[direction].values()) size += column.size;
    return size;
  }

  /** Every entry, in no particular order. */
  *entries(): IterableIterator<RuleSetEntry> {
    for (const direction of DIRECTIONS) {
      for (const column of this.#cells[direction].values())
        for (const [identity, cell] of column) yield { identity, ...cell };
    }
  }

  /** As the kernel answers: longest prefix for the exact identity and for any, then precedence, length, exactness. */
  lookup(flow: PolicyFlow): RuleSetEntry | undefined {
    const cells = this.#cells[flow.direction];
    const keys = coveringKeys(flow.protocol, flow.port, 16).reverse();
    const longest = (identity: number): Cell | undefined => {
      for (const key of keys) {
        const cell = cells.get(key)?.get(identity);
        if (cell) return cell;
      }
      return undefined;
    };
    const any = longest(ANY);
    const exact = flow.identity === ANY ? undefined : longest(flow.identity);
    if (!exact || !any) return entryOf(exact, flow.identity) ?? entryOf(any, ANY);
    const byPrecedence = any.precedence - exact.precedence;
    const longer = blockBits(any.protocol, any.portPrefix) - blockBits(exact.protocol, exact.portPrefix);
    return (byPrecedence || longer) > 0 ? entryOf(any, ANY) : entryOf(exact, flow.identity);
  }
}

function entryOf(cell: Cell | undefined, identity: number): RuleSetEntry | undefined {
  return cell && { identity, ...cell };
}

function auditOrigin(ruleSet: RuleSet, direction: Direction): number {
  const [first] = ruleSet.auditedBy[direction];
  return first ? ruleSet.origins.findIndex((origin) => originKey(origin) === originKey(first)) + 1 : 0;
}

/** An identity's own table is complete, so it goes before the one for everybody. */
function tableCell(cell: Cell, outcome: Outcome, identity: number): Cell {
  return { ...cell, ...outcome, precedence: PRECEDENCE_TABLE + (identity === ANY ? 0 : 1) };
}

function sameCell(a: Cell, b: Cell): boolean {
  return a.verdict === b.verdict && a.precedence === b.precedence && a.origin === b.origin;
}

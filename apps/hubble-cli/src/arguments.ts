// SPDX-License-Identifier: Apache-2.0
// Flags in the order they were typed: `--not` concerns the next one, so an order-less parser would not do.
import { AppError } from '@cilium-ts/base';

export interface FlagSpec {
  readonly name: string;
  readonly short?: string;
  /** `flag`: no value; `list`: may be repeated, values separated by commas; `optional`: a value or none. */
  readonly kind: 'flag' | 'value' | 'list' | 'optional';
  /** For `list`: values that contain commas stay whole. */
  readonly whole?: boolean;
  readonly help: string;
  /** Shown in the help instead of `value`. */
  readonly value?: string;
}

export interface FlagUse {
  readonly name: string;
  /** Undefined for a flag without value. */
  readonly value: string | undefined;
}

export interface Parsed {
  readonly uses: readonly FlagUse[];
  readonly words: readonly string[];
}

export const usage = (message: string): AppError => new AppError('usage', message);

/** @throws AppError `usage` naming the flag */
export function parseArguments(args: readonly string[], specs: readonly FlagSpec[]): Parsed {
  const uses: FlagUse[] = [];
  const words: string[] = [];
  const queue = args.flatMap((arg) => splitShorts(arg, specs));
  while (queue.length > 0) {
    const arg = queue.shift()!;
    if (arg === '--') {
      words.push(...queue.splice(0));
      break;
    }
    if (!/^-./.test(arg) || /^-\d/.test(arg)) {
      words.push(arg);
      continue;
    }
    const [, typed = '', , inline] = /^(-[^=]*)(=(.*))?$/s.exec(arg) ?? [];
    const spec = specs.find(
      ({ name, short }) => typed === `--${name}` || (short !== undefined && typed === `-${short}`),
    );
    if (!spec) throw usage(`unknown flag: ${typed}`);
    uses.push({ name: spec.name, value: takeValue(spec, typed, inline, queue) });
  }
  return { uses, words };
}

/** `-fojson` is not offered, `-fA` is. */
function splitShorts(arg: string, specs: readonly FlagSpec[]): string[] {
  if (!/^-[A-Za-z]{2,}$/.test(arg)) return [arg];
  const letters = [...arg.slice(1)];
  const areFlags = letters
    .slice(0, -1)
    .every((letter) => specs.some(({ short, kind }) => short === letter && kind === 'flag'));
  const first = specs.find(({ short }) => short === letters[0]);
  if (areFlags) return letters.map((letter) => `-${letter}`);
  // `-ojson`: the rest is the value.
  return first && first.kind !== 'flag' ? [`-${letters[0]}`, arg.slice(2)] : [arg];
}

function takeValue(
  spec: FlagSpec,
  typed: string,
  inline: string | undefined,
  queue: string[],
): string | undefined {
  if (spec.kind === 'flag') {
    if (inline === undefined || inline === 'true') return undefined;
    if (inline === 'false') return 'false';
    throw usage(`flag ${typed} takes no value`);
  }
  if (inline !== undefined) return inline;
  const next = queue[0];
  if (spec.kind === 'optional' && (next === undefined || next.startsWith('-'))) return undefined;
  if (next === undefined) throw usage(`flag needs a value: ${typed}`);
  return queue.shift();
}

/** Access by name to flags whose order does not matter. */
export class Flags {
  readonly #uses: readonly FlagUse[];

  constructor(uses: readonly FlagUse[]) {
    this.#uses = uses;
  }

  has(name: string): boolean {
    return this.#uses.some((use) => use.name === name && use.value !== 'false');
  }

  /** The last value given. */
  text(name: string): string | undefined {
    return this.#uses.findLast((use) => use.name === name)?.value;
  }

  all(name: string): string[] {
    return this.#uses.flatMap((use) => (use.name === name && use.value !== undefined ? [use.value] : []));
  }

  /** @throws AppError `usage` */
  count(name: string): bigint | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^\d{1,18}$/.test(text))
      throw usage(`invalid value ${JSON.stringify(text)} for --${name}: a number is needed`);
    return BigInt(text);
  }

  /** @throws AppError `usage` naming what is allowed */
  choice<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const text = this.text(name) ?? fallback;
    const found = allowed.find((value) => value.toLowerCase() === text.toLowerCase());
    if (found === undefined) {
      throw usage(`invalid value ${JSON.stringify(text)} for --${name}; allowed: ${allowed.join(', ')}`);
    }
    return found;
  }
}

/** Seconds-and-up durations as `1h30m`; undefined where it is none. */
export function parseDuration(text: string): number | undefined {
  const units: Readonly<Record<string, number>> = {
    ns: 1e-6,
    us: 1e-3,
    ms: 1,
    s: 1000,
    m: 60_000,
    h: 3_600_000,
  };
  if (!/^(\d+(\.\d+)?(ns|us|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(ns|us|ms|s|m|h)/g))
    total += Number(amount) * units[unit!]!;
  return total;
}

export function helpText(title: string, synopsis: string, specs: readonly FlagSpec[]): string {
  const left = specs.map(({ name, short, kind, value }) => {
    const what =
      kind === 'flag' ? '' : kind === 'optional' ? `[=${value ?? 'value'}]` : ` ${value ?? 'value'}`;
    return `  ${short ? `-${short}, ` : '    '}--${name}${what}`;
  });
  const width = Math.max(...left.map((text) => text.length)) + 2;
  const lines = specs.map(({ help }, i) => `${left[i]!.padEnd(width)}${help}`);
  return `${title}\n\nUsage:\n  ${synopsis}\n\nFlags:\n${lines.join('\n')}\n`;
}

// SPDX-License-Identifier: Apache-2.0
// What the parsers of an object's parts are given.
import type { Problem, Reader } from './problem.ts';
import type { ParseOptions, PolicyName } from './rule.ts';
import type { Direction, Origin } from './rule-set.ts';

/** What every object's parser shares: where problems go and how paths become origins. */
export interface ObjectContext {
  readonly read: Reader;
  readonly options: ParseOptions;
  readonly id: PolicyName;
  /** `spec` or `specs[n]`, in front of problem paths. */
  readonly root: string;
  readonly origin: (pathInRule: string) => Origin;
  readonly notes: Problem[];
  /** The rule's subject carries reserved:init: peers get no implicit namespace. */
  readonly initSubject: boolean;
}

export interface ItemContext {
  readonly read: Reader;
  readonly options: ParseOptions;
  readonly id: PolicyName;
  readonly direction: Direction;
  readonly initSubject: boolean;
  /** Problem path of something inside the item. */
  at(where: string): string;
  origin(where: string): Origin;
  /** Records that a part of the item is not enforced yet. */
  unenforced(where: string, message: string): void;
}

export function itemContext(object: ObjectContext, item: string, direction: Direction): ItemContext {
  const join = (where: string): string => (where === '' ? item : `${item}.${where}`);
  return {
    read: object.read,
    options: object.options,
    id: object.id,
    direction,
    initSubject: object.initSubject,
    at: (where) => `${object.root}.${join(where)}`,
    origin: (where) => object.origin(join(where)),
    unenforced: (where, message) => {
      object.notes.push({ path: `${object.root}.${join(where)}`, message });
    },
  };
}

// SPDX-License-Identifier: Apache-2.0
import type { KindRules } from './model.ts';

const RULES: Readonly<Record<string, KindRules>> = {};

/** Defaults and checks of a built-in kind. */
export function rulesFor(kind: string): KindRules | undefined {
  return RULES[kind];
}

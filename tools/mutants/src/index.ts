// SPDX-License-Identifier: Apache-2.0
export type { Mutant } from './mutant.ts';

// SPDX-License-Identifier: Apache-2.0
export { findClang } from './compile.ts';
export { generate } from './generate.ts';
export { readLayout } from './read-layout.ts';
export { layoutHash, lockText, type Layout } from './layout.ts';

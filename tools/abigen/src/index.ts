// SPDX-License-Identifier: Apache-2.0
export { findClang } from './compile.ts';
export { generate, readLayout } from './generate.ts';
export { layoutHash, lockText, type Layout } from './layout.ts';

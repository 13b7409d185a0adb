// SPDX-License-Identifier: Apache-2.0
export { Random } from './random.ts';
export { shrink } from './shrink.ts';

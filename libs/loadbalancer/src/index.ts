// SPDX-License-Identifier: Apache-2.0
export {
  frontendKey,
  frontendsOf,
  type Backend,
  type Frontend,
  type ServiceInput,
  type SliceInput,
} from './model.ts';
export { SlotAllocator, type SlotRange } from './slots.ts';
export { ServiceLayout, type LayoutChange, type PlacedFrontend } from './layout.ts';

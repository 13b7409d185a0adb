// SPDX-License-Identifier: Apache-2.0
export { createOracle, type Oracle } from './judge.ts';
export {
  PROTOCOLS,
  type CidrGroup,
  type Direction,
  type Flow,
  type Judgement,
  type NamedPort,
  type Origin,
  type PolicyObject,
  type Service,
  type Subject,
  type World,
} from './world.ts';

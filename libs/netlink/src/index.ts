// SPDX-License-Identifier: Apache-2.0
export { isErrno, Netlink, NetlinkError } from './netlink.ts';
export { accepting, type LinkRef, type Request } from './request.ts';
export { createBridge, createLink, createVeth, deleteLink, setLink } from './links.ts';
export type { Link, LinkChange, LinkSettings, LinkStats } from './links.ts';
export { addAddress, deleteAddress, type Address, type AddressOptions } from './addresses.ts';
export {
  addRoute,
  addRule,
  deleteRoute,
  deleteRule,
  replaceRoute,
  TABLE_LOCAL,
  TABLE_MAIN,
} from './routes.ts';
export type { Route, RouteOptions, RouteScope, RouteType, Rule, RuleOptions } from './routes.ts';
export { deleteNeighbour, setNeighbour, type Neighbour, type NeighbourOptions } from './neighbours.ts';
export { addClsact, deleteClsact, deleteFilter, setFilter } from './traffic.ts';
export type { Filter, FilterOptions, TrafficDirection } from './traffic.ts';
export { createNetns, deleteNetns, listNetns, netnsPath, withNetnsFd } from './namespaces.ts';

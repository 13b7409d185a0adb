// SPDX-License-Identifier: Apache-2.0
export { loadNative, type LoadNativeOptions } from './load.ts';
export { isSystemError, type SystemError } from './errors.ts';
export type {
  Fd,
  LinkInfo,
  MapInfo,
  MapPage,
  Native,
  NetnsRef,
  ObjectDescription,
  ObjectHandle,
  ObjectMap,
  ObjectProgram,
  ProgramInfo,
  RingHandle,
  RingStats,
  SocketKind,
  SocketOptions,
  TestRunOptions,
  TestRunResult,
} from './native.ts';

// SPDX-License-Identifier: Apache-2.0
export { AttachType, bytesCodec, MapFlag, MapType, ProgramType, u32Codec, u64Codec } from './codec.ts';
export type { Codec, MapSpec, OuterMapSpec } from './codec.ts';
export { BpfMap, PerCpuMap, UpdateMode, type CreateMapOptions } from './map.ts';
export { OuterMap } from './outer-map.ts';
export { BpfProgram } from './program.ts';
export { BpfObject, type LoadOptions, type ReplacedPin } from './object.ts';
export { attachCgroup, attachTraffic, attachXdp } from './link.ts';
export type { AttachMethod, Attachment, CgroupOptions, TrafficOptions, XdpOptions } from './link.ts';
export { FEATURES, probeFeatures } from './features.ts';
export type { Feature, FeatureState, FeatureTable, ProbeOptions } from './features.ts';
export { eventBatch, EventReader, LossCounter } from './events.ts';
export type { EventBatch, EventReaderOptions, SequenceFields } from './events.ts';
export { ensureBpffs, ensureCgroup2 } from './filesystem.ts';

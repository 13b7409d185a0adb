// SPDX-License-Identifier: Apache-2.0
export { BusConnection, type BusOptions } from './connection.ts';
export { Bucket, type BucketEntry, type BucketWatcher } from './bucket.ts';
export { NatsEndpoints, type SliceLike } from './endpoints.ts';

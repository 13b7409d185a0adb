// SPDX-License-Identifier: Apache-2.0
export { AppError, assert, assertNever, errorMessage } from './errors.ts';
export type { Brand } from './brand.ts';
export { err, ok, type Result } from './result.ts';
export { systemClock, type Clock } from './clock.ts';
export { silentLogger, type Logger } from './logger.ts';
export { Lifecycle, type Stoppable } from './lifecycle.ts';

// SPDX-License-Identifier: Apache-2.0
export { parseCommandLine, readConfigDirectory, type CommandLine } from './config-files.ts';

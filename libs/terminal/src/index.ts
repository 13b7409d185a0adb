// SPDX-License-Identifier: Apache-2.0
export { formatColumns, type ColumnOptions } from './columns.ts';
export { EXIT, formatValue, jsonPath } from './output.ts';

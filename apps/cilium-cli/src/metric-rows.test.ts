// SPDX-License-Identifier: Apache-2.0
// Rows of `metrics list`: plain samples as they are, histograms as quantiles.
// Made-up samples.
import { expect, test } from '@jest/globals';
import { metricRows, quantile } from './metric-rows.ts';

const bucket = (le: string, value: number) => ({
  name: 'cilium_wait_seconds_bucket',
  labels: { le, scope: 'a' },
  value,
});

test('the series of a histogram become one row with p50, p90 and p99', () => {
  const rows = metricRows([
    bucket('1', 50),
    bucket('2', 100),
    bucket('+Inf', 100),
    { name: 'cilium_wait_seconds_sum', labels: { scope: 'a' }, value: 90 },
    { name: 'cilium_wait_seconds_count', labels: { scope: 'a' }, value: 100 },
    { name: 'cilium_drop_count', labels: { reason: 'x' }, value: 3 },
  ]);
  expect(rows).toEqual([
    ['Metric', 'Labels', 'Value'],
    ['cilium_drop_count', 'reason=x', '3.000000'],
    ['cilium_wait_seconds', 'scope=a', '1 / 1.8 / 1.98'],
  ]);
});

test('a quantile above the last bound is that bound, of nothing none', () => {
  expect(
    quantile(0.9, [
      { bound: 1, count: 1 },
      { bound: Infinity, count: 10 },
    ]),
  ).toBe(1);
  expect(quantile(0.5, [{ bound: Infinity, count: 0 }])).toBeNaN();
});

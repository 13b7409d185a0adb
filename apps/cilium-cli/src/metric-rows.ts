// SPDX-License-Identifier: Apache-2.0
import type { MetricModel } from '@cilium-ts/agent-api';

interface Histogram {
  readonly name: string;
  readonly labels: string;
  /** Upper bounds and how many samples are at or below each. */
  readonly buckets: { readonly bound: number; readonly count: number }[];
}

const labelText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .filter(([key]) => key !== 'le')
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');

/** Linear inside the bucket, as Prometheus estimates it; what lies above the last bound counts as that bound. */
export function quantile(share: number, buckets: Histogram['buckets']): number {
  const sorted = [...buckets].sort((a, b) => a.bound - b.bound);
  const total = sorted.at(-1)?.count ?? 0;
  if (total === 0) return NaN;
  const rank = share * total;
  let [lower, below] = [0, 0];
  for (const { bound, count } of sorted) {
    if (count >= rank)
      return bound === Infinity ? lower : lower + ((bound - lower) * (rank - below)) / (count - below || 1);
    [lower, below] = [bound, count];
  }
  return lower;
}

/** One row per sample; the series of a histogram become one row `p50 / p90 / p99`. */
export function metricRows(models: readonly MetricModel[]): string[][] {
  const histograms = new Map<string, Histogram>();
  for (const { name, labels, value } of models) {
    if (!name.endsWith('_bucket') || labels['le'] === undefined) continue;
    const base = name.slice(0, -'_bucket'.length);
    const key = `${base} ${labelText(labels)}`;
    const histogram = histograms.get(key) ?? { name: base, labels: labelText(labels), buckets: [] };
    histogram.buckets.push({
      bound: labels['le'] === '+Inf' ? Infinity : Number(labels['le']),
      count: value,
    });
    histograms.set(key, histogram);
  }
  const bases = new Set([...histograms.values()].map(({ name }) => name));
  const rows = models
    .filter(({ name }) => !bases.has(name.replace(/_(bucket|sum|count)$/, '')))
    .map(({ name, labels, value }) => [name, labelText(labels), value.toFixed(6)]);
  for (const { name, labels, buckets } of histograms.values()) {
    const figures = [0.5, 0.9, 0.99].map((share) => quantile(share, buckets));
    rows.push([
      name,
      labels,
      figures
        .map((figure) => (Number.isNaN(figure) ? 'n/a' : String(Number(figure.toPrecision(4)))))
        .join(' / '),
    ]);
  }
  return [
    ['Metric', 'Labels', 'Value'],
    ...rows.sort((a, b) => (a[0]! < b[0]! ? -1 : a[0]! > b[0]! ? 1 : 0)),
  ];
}

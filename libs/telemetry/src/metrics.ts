// SPDX-License-Identifier: Apache-2.0
import type { Attributes, ObservableResult } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

export type Labels = Readonly<Record<string, string | number>>;

export interface Counter {
  add(value: number, labels?: Labels): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
}

export interface Histogram {
  /** Seconds, bytes or whatever the metric's name says. */
  record(value: number, labels?: Labels): void;
}

/** Called at each scrape; reports every present series. */
export type Observe = (report: (value: number, labels?: Labels) => void) => void | Promise<void>;

/** The one door to metrics: names are full Prometheus names, counters end in `_total`. */
export interface Metrics {
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  histogram(name: string, help: string, bounds?: readonly number[]): Histogram;
  /** For values that live elsewhere (a BPF map, a table): read when scraped. */
  observe(name: string, help: string, kind: 'counter' | 'gauge', read: Observe): void;
  /** Prometheus text format 0.0.4. */
  text(): Promise<string>;
  stop(): Promise<void>;
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const DEFAULT_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Cardinality guard of the SDK: series above it fold into one with label `otel_metric_overflow`. */
const SERIES_LIMIT = 10_000;

export function createMetrics(): Metrics {
  const reader = new PrometheusExporter({ preventServerStart: true });
  const provider = new MeterProvider({
    readers: [reader],
    views: [{ instrumentName: '*', aggregationCardinalityLimit: SERIES_LIMIT }],
  });
  const meter = provider.getMeter('cilium-ts');
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);
  return {
    counter: (name, help) => addTo(meter.createCounter(name, { description: help })),
    gauge: (name, help) => setOn(meter.createGauge(name, { description: help })),
    histogram(name, help, bounds = DEFAULT_BOUNDS) {
      const advice = { explicitBucketBoundaries: [...bounds] };
      const histogram = meter.createHistogram(name, { description: help, advice });
      return { record: (value, labels) => histogram.record(value, labels) };
    },
    observe(name, help, kind, read) {
      const options = { description: help };
      const instrument =
        kind === 'counter'
          ? meter.createObservableCounter(name, options)
          : meter.createObservableGauge(name, options);
      instrument.addCallback((result: ObservableResult) =>
        read((value, labels) => result.observe(value, labels as Attributes | undefined)),
      );
    },
    async text() {
      const { resourceMetrics } = await reader.collect();
      const text = serializer.serialize(resourceMetrics);
      return text.endsWith('\n') ? text : `${text}\n`;
    },
    stop: () => provider.shutdown(),
  };
}

function addTo(counter: { add(value: number, labels?: Attributes): void }): Counter {
  return { add: (value, labels) => counter.add(value, labels) };
}

function setOn(gauge: { record(value: number, labels?: Attributes): void }): Gauge {
  return { set: (value, labels) => gauge.record(value, labels) };
}

/** For tests and processes without a metrics address. */
export const silentMetrics: Metrics = {
  counter: () => ({ add: () => undefined }),
  gauge: () => ({ set: () => undefined }),
  histogram: () => ({ record: () => undefined }),
  observe: () => undefined,
  text: () => Promise.resolve(''),
  stop: () => Promise.resolve(),
};

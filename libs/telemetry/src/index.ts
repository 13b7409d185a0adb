// SPDX-License-Identifier: Apache-2.0
export {
  createLogger,
  isLogLevel,
  LOG_LEVELS,
  type ComponentLogger,
  type LoggerOptions,
  type LogLevel,
} from './logger.ts';
export {
  createMetrics,
  METRICS_CONTENT_TYPE,
  silentMetrics,
  type Counter,
  type Gauge,
  type Histogram,
  type Labels,
  type Metrics,
  type Observe,
} from './metrics.ts';
export {
  injectTrace,
  startTracing,
  withRemoteTrace,
  withSpan,
  type Attributes,
  type Span,
  type TracingOptions,
} from './tracing.ts';
export {
  healthAnswer,
  metricsAnswer,
  parseListenAddress,
  serveHealth,
  serveText,
  type ListenAddress,
  type TextAnswer,
} from './text-server.ts';

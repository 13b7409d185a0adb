// SPDX-License-Identifier: Apache-2.0
import { context, propagation, SpanStatusCode, trace, type Attributes, type Span } from '@opentelemetry/api';
import { errorMessage, type Stoppable } from '@cilium-ts/base';

export type { Attributes, Span };

const TRACER = 'cilium-ts';

export interface TracingOptions {
  /** `service.name` of the spans. */
  readonly service: string;
  readonly attributes?: Record<string, string>;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/**
 * Starts OTLP export when OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ form) is set. Otherwise every span is the API's
 * no-op and the SDK is not even loaded.
 */
export async function startTracing(options: TracingOptions): Promise<Stoppable> {
  const environment = options.environment ?? process.env;
  const endpoint = tracesEndpoint(environment);
  if (!endpoint) return { stop: () => undefined };
  const { startExport } = await import('./trace-export.ts');
  return startExport(endpoint, options.service, options.attributes ?? {});
}

function tracesEndpoint(environment: Readonly<Record<string, string | undefined>>): string | undefined {
  const exact = environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  if (exact) return exact;
  const base = environment['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return base ? `${base.replace(/\/+$/, '')}/v1/traces` : undefined;
}

/** Runs `work` inside a span; a throw or rejection marks the span failed and goes on to the caller. */
export async function withSpan<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => T | Promise<T>,
): Promise<T> {
  return trace.getTracer(TRACER).startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: errorMessage(error) });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Headers (`traceparent`, ...) that carry the active span to another process. */
export function injectTrace(): Record<string, string> {
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  return carrier;
}

/** Runs `work` as a child of the span named in `carrier`, if any. */
export function withRemoteTrace<T>(carrier: Readonly<Record<string, string>>, work: () => T): T {
  return context.with(propagation.extract(context.active(), carrier), work);
}

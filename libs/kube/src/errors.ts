// SPDX-License-Identifier: Apache-2.0

/** The parts of a Kubernetes `Status` that callers look at. */
export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly retryAfterSeconds?: number;
  readonly causes?: readonly { reason?: string; message?: string; field?: string }[];
}

/**
 * A refused or unanswered API request. `code` is the HTTP status, 0 where no answer came; `reason` is the server's word
 * (`NotFound`, `Conflict`, ...) or `Unreachable`.
 */
export class KubeError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails;

  constructor(code: number, reason: string, message: string, details: StatusDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'KubeError';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** From a response body, which is a `Status` or, from proxies, anything. */
  static fromResponse(code: number, body: string, request: string): KubeError {
    const status = parseStatus(body);
    const message = status?.message ?? (body.trim().slice(0, 200) || `HTTP ${code}`);
    return new KubeError(
      code,
      status?.reason ?? reasonOf(code),
      `${request}: ${message}`,
      status?.details ?? {},
    );
  }

  static unreachable(request: string, cause: unknown): KubeError {
    const text = cause instanceof Error ? cause.message || cause.name : String(cause);
    return new KubeError(0, 'Unreachable', `${request}: ${text}`, {}, cause);
  }
}

interface StatusBody {
  kind?: string;
  message?: string;
  reason?: string;
  details?: StatusDetails;
}

function parseStatus(body: string): StatusBody | undefined {
  if (!body.startsWith('{')) return undefined;
  try {
    const parsed = JSON.parse(body) as StatusBody;
    return parsed.kind === 'Status' ? parsed : undefined;
  } catch {
    return undefined;
  }
}

const REASONS: Record<number, string> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Expired',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

function reasonOf(code: number): string {
  return REASONS[code] ?? 'Unknown';
}

export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.code === 404;
}

/** The object changed since it was read (not: it exists already). */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.code === 409 && error.reason !== 'AlreadyExists';
}

export function isAlreadyExists(error: unknown): boolean {
  return error instanceof KubeError && error.code === 409 && error.reason === 'AlreadyExists';
}

/** The resource version asked for is no longer kept: list again. */
export function isGone(error: unknown): boolean {
  return error instanceof KubeError && error.code === 410;
}

/** No answer came; the request may or may not have been carried out. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof KubeError && error.code === 0;
}

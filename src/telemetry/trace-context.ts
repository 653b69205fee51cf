import { randomBytes } from 'node:crypto';

/*
 * `@opentelemetry/core` has a propagator with the same rules. It is not used here because importing it takes 40 ms of CPU time (Zen 5) at
 * every start, also of services that trace nothing.
 */

/** A position in a trace (W3C Trace Context, level 1). */
export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** The `tracestate` header, unchanged. */
  readonly state?: string;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * Parses a `traceparent` header. Higher versions are read by the fields of version 00, as the recommendation asks (section 4.3). A header
 * that breaks the rules counts as absent: the request starts a new trace instead of failing.
 */
export function parseTraceparent(header: string | undefined, state?: string): TraceContext | undefined {
  const match = TRACEPARENT.exec(header?.trim() ?? '');
  if (!match) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', rest] = match;
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  const sampled = (Number.parseInt(flags, 16) & 1) === 1;
  return { traceId, spanId, sampled, ...(state ? { state } : {}) };
}

/** Returns the `traceparent` header of a context, version 00. */
export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

/** Returns a position below `parent`, or the root of a new trace that is not recorded. */
export function childContext(parent: TraceContext | undefined): TraceContext {
  const spanId = randomBytes(8).toString('hex');
  return parent ? { ...parent, spanId } : { traceId: randomBytes(16).toString('hex'), spanId, sampled: false };
}

import { statSync } from 'node:fs';

/*
 * OpenTelemetry's variables. The SDK packages read some by themselves (headers, timeout, compression, certificates, resource); the others
 * are read here. What is wrong or has no effect is reported: the SDK would ignore it in silence.
 * Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and …/protocol/exporter/.
 */

type Environment = Readonly<Record<string, string | undefined>>;

/** How traces without a decision of a caller are chosen. */
interface Sampling {
  /** Whether a caller's decision is kept. */
  readonly parentBased: boolean;
  /** Share of traces that are recorded. */
  readonly ratio: number;
}

export interface BatchLimits {
  readonly scheduledDelayMillis?: number;
  readonly exportTimeoutMillis?: number;
  readonly maxQueueSize?: number;
  readonly maxExportBatchSize?: number;
}

/** What settings and variables say of traces. */
export interface TracePlan {
  /** URL that spans are sent to; undefined: none are recorded. */
  readonly url: string | undefined;
  readonly sampling: Sampling;
  readonly batch: BatchLimits;
  /** Variables that are wrong or without effect, one sentence each. No value of a header is shown. */
  readonly notes: readonly string[];
}

const BASE = 'OTEL_EXPORTER_OTLP_ENDPOINT';
const TRACES = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
const DEFAULT_COLLECTOR = 'http://localhost:4318';

const positive = (value: string) => Number(value) > 0 && Number.isFinite(Number(value));
const oneOf =
  (...values: readonly string[]) =>
  (value: string) =>
    values.includes(value);
const isPairs = (value: string) => value.split(',').every((pair) => /^\s*[^=\s]+\s*=/.test(pair));
const isFile = (value: string) => statSync(value, { throwIfNoEntry: false })?.isFile() ?? false;

/** Longest key or value of a resource attribute, in characters. */
const LONGEST_ATTRIBUTE = 255;

function isDecodable(text: string): boolean {
  try {
    return decodeURIComponent(text.trim()).length <= LONGEST_ATTRIBUTE;
  } catch {
    return false;
  }
}

/** Whether the SDK takes all attributes: where one is malformed, it leaves out the whole variable. */
const isAttributes = (value: string) =>
  value
    .split(',')
    .filter((pair) => pair.trim() !== '')
    .every((pair) => {
      const [key = '', ...rest] = pair.split('=');
      return rest.length === 1 && key.trim() !== '' && isDecodable(key) && isDecodable(rest[0]!);
    });
const isUrl = (value: string) => URL.canParse(value) && /^https?:/.test(value);

/** A variable with effect: what it takes, and whether a value is that. */
interface Known {
  readonly expected: string;
  readonly takes: (value: string) => boolean;
  readonly secret?: true;
}

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

/** Variables of the exporter; each has a second name with `TRACES_`, which wins. */
const EXPORTER: Readonly<Record<string, Known>> = {
  ENDPOINT: { expected: 'a URL that starts with http:// or https://', takes: isUrl },
  HEADERS: { expected: 'name=value pairs with commas between them', takes: isPairs, secret: true },
  TIMEOUT: { expected: 'milliseconds above 0', takes: positive },
  COMPRESSION: { expected: 'gzip or none', takes: oneOf('gzip', 'none') },
  PROTOCOL: { expected: 'http/json, the one protocol that spans are sent in', takes: oneOf('http/json') },
  CERTIFICATE: { expected: 'a file', takes: isFile },
  CLIENT_CERTIFICATE: { expected: 'a file', takes: isFile },
  CLIENT_KEY: { expected: 'a file', takes: isFile },
};

const KNOWN: ReadonlyMap<string, Known> = new Map<string, Known>([
  ['OTEL_SDK_DISABLED', { expected: 'true or false', takes: (value) => /^(true|false)$/i.test(value) }],
  ['OTEL_TRACES_EXPORTER', { expected: 'otlp or none', takes: oneOf('otlp', 'none') }],
  ['OTEL_SERVICE_NAME', { expected: 'a name', takes: () => true }],
  [
    'OTEL_RESOURCE_ATTRIBUTES',
    { expected: 'key=value pairs with commas between them, percent-encoded', takes: isAttributes },
  ],
  ['OTEL_TRACES_SAMPLER', { expected: `one of ${SAMPLERS.join(', ')}`, takes: oneOf(...SAMPLERS) }],
  ['OTEL_TRACES_SAMPLER_ARG', { expected: 'a number from 0 to 1', takes: (value) => share(value) !== undefined }],
  ['OTEL_BSP_SCHEDULE_DELAY', { expected: 'milliseconds above 0', takes: positive }],
  ['OTEL_BSP_EXPORT_TIMEOUT', { expected: 'milliseconds above 0', takes: positive }],
  ['OTEL_BSP_MAX_QUEUE_SIZE', { expected: 'a number above 0', takes: positive }],
  ['OTEL_BSP_MAX_EXPORT_BATCH_SIZE', { expected: 'a number above 0', takes: positive }],
  ['OTEL_PROPAGATORS', { expected: 'tracecontext', takes: oneOf('tracecontext', 'tracecontext,baggage') }],
  ...Object.entries(EXPORTER).flatMap(([name, known]): [string, Known][] => [
    [`OTEL_EXPORTER_OTLP_${name}`, known],
    [`OTEL_EXPORTER_OTLP_TRACES_${name}`, known],
  ]),
]);

/** Reads a share from 0 to 1. */
function share(text: string): number | undefined {
  const value = Number(text);
  return text.trim() !== '' && value >= 0 && value <= 1 ? value : undefined;
}

/** Returns the URL of a collector's traces: adds OTLP's default path if the endpoint has none. */
export function tracesUrl(endpoint: string): string {
  const url = new URL(endpoint);
  if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}

/** Returns the variables with a value, and notes on those whose value is not what they take. Such a value counts as none. */
function readKnown(env: Environment, notes: string[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const [name, text = ''] of Object.entries(env)) {
    const value = text.trim();
    if (!name.startsWith('OTEL_') || value === '') continue;
    const known = KNOWN.get(name);
    if (!known) notes.push(`${name} has no effect: Winnow exports traces only, and reads no such variable for them`);
    else if (known.takes(value)) values.set(name, value);
    else
      notes.push(`${name} has no effect: expected ${known.expected}, got ${known.secret ? 'something else' : value}`);
  }
  return values;
}

function samplingOf(values: ReadonlyMap<string, string>, ratio: number, notes: string[]): Sampling {
  const sampler = values.get('OTEL_TRACES_SAMPLER');
  const argument = values.get('OTEL_TRACES_SAMPLER_ARG');
  if (argument !== undefined && !sampler?.endsWith('traceidratio'))
    notes.push('OTEL_TRACES_SAMPLER_ARG has no effect: OTEL_TRACES_SAMPLER does not name a sampler that takes it');
  if (sampler === undefined) return { parentBased: true, ratio };
  if (ratio !== 1) notes.push('telemetry.traceRatio has no effect: OTEL_TRACES_SAMPLER is set');
  const parentBased = sampler.startsWith('parentbased_');
  if (sampler.endsWith('always_off')) return { parentBased, ratio: 0 };
  return { parentBased, ratio: sampler.endsWith('always_on') ? 1 : (share(argument ?? '1') ?? 1) };
}

/** Returns where spans go. The setting wins over the variable for traces, and that over the one for all signals, which the setting may hold. */
function urlOf(values: ReadonlyMap<string, string>, endpoint: string | undefined, notes: string[]): string | undefined {
  const traces = values.get(TRACES);
  const isOwn = endpoint !== undefined && endpoint !== values.get(BASE);
  if (isOwn && traces !== undefined) notes.push(`${TRACES} has no effect: telemetry.otlpEndpoint is set`);
  // The variable for traces is used as it is, without a path added.
  if (traces !== undefined && !isOwn) return traces;
  if (endpoint !== undefined) return tracesUrl(endpoint);
  return values.get('OTEL_TRACES_EXPORTER') === 'otlp' ? tracesUrl(DEFAULT_COLLECTOR) : undefined;
}

function batchOf(values: ReadonlyMap<string, string>): BatchLimits {
  const limits: [keyof BatchLimits, string][] = [
    ['scheduledDelayMillis', 'OTEL_BSP_SCHEDULE_DELAY'],
    ['exportTimeoutMillis', 'OTEL_BSP_EXPORT_TIMEOUT'],
    ['maxQueueSize', 'OTEL_BSP_MAX_QUEUE_SIZE'],
    ['maxExportBatchSize', 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE'],
  ];
  return Object.fromEntries(
    limits.flatMap(([key, name]) => (values.has(name) ? [[key, Number(values.get(name))]] : [])),
  );
}

/** Returns how traces are recorded and sent, from the settings and OpenTelemetry's variables. */
export function planTraces(
  env: Environment,
  { endpoint, ratio = 1 }: { readonly endpoint?: string | undefined; readonly ratio?: number | undefined },
): TracePlan {
  const notes: string[] = [];
  const values = readKnown(env, notes);
  const off = (reason: string): TracePlan => ({ url: undefined, ...nothing, notes: [reason, ...notes] });
  const nothing = { sampling: { parentBased: true, ratio: 0 }, batch: {} };
  const wanted = urlOf(values, endpoint, notes);
  if (values.get('OTEL_SDK_DISABLED')?.toLowerCase() === 'true')
    return off('OTEL_SDK_DISABLED: no traces are recorded');
  if (values.get('OTEL_TRACES_EXPORTER') === 'none') return off('OTEL_TRACES_EXPORTER=none: no traces are recorded');
  if (wanted === undefined) {
    const idle = [...values.keys()].filter((name) => name !== 'OTEL_SDK_DISABLED');
    const noted = idle.map((name) => `${name} has no effect: no collector is named (telemetry.otlpEndpoint)`);
    return { url: undefined, ...nothing, notes: [...notes, ...noted] };
  }
  return { url: wanted, sampling: samplingOf(values, ratio, notes), batch: batchOf(values), notes };
}

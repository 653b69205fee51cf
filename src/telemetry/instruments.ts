import {
  Counter,
  type CounterConfiguration,
  collectDefaultMetrics,
  Gauge,
  type GaugeConfiguration,
  Histogram,
  type HistogramConfiguration,
  Registry,
} from 'prom-client';
import { Mutex } from '../util/mutex.ts';
import { watchEventLoop } from './event-loop-delay.ts';
import { LATENCY, type Shape } from './metric-shapes.ts';
import { METRICS } from './metrics.ts';

/** How metrics are written: Prometheus' text format 0.0.4, or OpenMetrics 1.0.0, which has exemplars. */
export type MetricsFormat = 'text' | 'openmetrics';

type Table = typeof METRICS;

/** One increment or observation, and the trace it belongs to, where that is recorded. */
interface TracedSample<L extends string> {
  readonly labels: Readonly<Record<L, string>>;
  readonly value: number;
  readonly exemplarLabels?: { readonly trace_id: string };
}

/** A counter of prom-client with exemplars, which takes its arguments in one object. */
type TracedCounter<L extends string> = Pick<Counter<L>, 'get' | 'remove'> & { inc(sample: TracedSample<L>): void };
type TracedHistogram<L extends string> = Pick<Histogram<L>, 'get' | 'remove'> & {
  observe(sample: TracedSample<L>): void;
};

type Instrument<S extends Shape> = S extends { readonly traced: true }
  ? S['kind'] extends 'counter'
    ? TracedCounter<S['labels'][number]>
    : TracedHistogram<S['labels'][number]>
  : S['kind'] extends 'counter'
    ? Counter<S['labels'][number]>
    : S['kind'] extends 'gauge'
      ? Gauge<S['labels'][number]>
      : Histogram<S['labels'][number]>;

/** One instrument for each row of the table, under the row's key, and the registry that renders them. */
export type Metrics = { readonly [K in keyof Table]: Instrument<Table[K]> } & {
  readonly registry: Registry;
  /** Calls `read` before each rendering, for gauges whose value is looked up at the scrape. */
  onScrape(read: () => void): void;
  /** Returns all metrics as text, and its content type. Default: `text`. */
  render(format?: MetricsFormat): Promise<{ readonly contentType: string; readonly text: string }>;
  /** Stops the event loop's monitor. */
  close(): void;
};

/** prom-client's sums over kinds that it also gives one by one. They are gauges with a counter's name, which Prometheus' linter refuses. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

function build(shape: Shape, registry: Registry): Counter | Gauge | Histogram {
  const { name, help, labels, kind, traced = false, buckets = LATENCY } = shape;
  const common = { name, help, labelNames: [...labels], registers: [registry], enableExemplars: traced };
  if (kind === 'counter') return new Counter(common satisfies CounterConfiguration<string>);
  if (kind === 'gauge') return new Gauge(common satisfies GaugeConfiguration<string>);
  return new Histogram({ ...common, buckets: [...buckets] } satisfies HistogramConfiguration<string>);
}

async function total(counter: Pick<Counter, 'get'>): Promise<number> {
  return (await counter.get()).values.reduce((sum, { value }) => sum + value, 0);
}

/** prom-client's registry as a writer of both formats. */
interface Writer {
  readonly contentType: string;
  setContentType(type: string): void;
  getMetricsAsArray(): { name: string }[];
  metrics(): Promise<string>;
}

/**
 * Returns a function that writes a registry in either format. prom-client keeps the format in the registry, and writing OpenMetrics takes
 * `_total` off the names of counters for good; so one rendering runs at a time, and each starts with the names as they were registered.
 */
function writerOf(registry: Writer): (format: MetricsFormat) => Promise<{ contentType: string; text: string }> {
  const named = registry.getMetricsAsArray().map((metric) => ({ metric, name: metric.name }));
  const mutex = new Mutex();
  return (format) =>
    mutex.run(async () => {
      registry.setContentType(
        format === 'openmetrics' ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE,
      );
      for (const { metric, name } of named) metric.name = name;
      const { contentType } = registry;
      const text = await registry.metrics();
      for (const { metric, name } of named) metric.name = name;
      return { contentType, text };
    });
}

/** Creates all metrics in a registry of their own, so that two servers in one process share nothing. */
export function createMetrics(options: { readonly processMetrics?: boolean } = {}): Metrics {
  const registry = new Registry();
  const writer: Writer = registry;
  // Only a registry of this format takes instruments with exemplars.
  writer.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const built = Object.fromEntries(Object.entries(METRICS).map(([key, shape]) => [key, build(shape, registry)]));
  const instruments = built as unknown as { [K in keyof Table]: Instrument<Table[K]> };
  if (options.processMetrics ?? true) collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  const write = writerOf(writer);
  const delay = watchEventLoop();
  const readers: (() => void)[] = [];
  return {
    ...instruments,
    registry,
    onScrape: (read) => void readers.push(read),
    async render(format = 'text') {
      for (const read of readers) read();
      for (const [percentile, seconds] of delay.read()) instruments.eventLoopDelay.set({ percentile }, seconds);
      // Computed from the two counters, so that it always agrees with them.
      const padding = await total(instruments.paddingTokens);
      instruments.paddingRatio.set(padding / Math.max(1, padding + (await total(instruments.tokens))));
      return write(format);
    },
    close: delay.close,
  };
}

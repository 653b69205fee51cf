import { join } from 'node:path';
import type { Collector } from './collector.ts';
import { shownQueries } from './dashboards.ts';
import type { Prometheus } from './prometheus.ts';
import { rulesFile } from './rules.ts';
import type { Service } from './service.ts';
import { promtool, type Result, until } from './tools.ts';

/** The name that the server of these checks has in its traces. */
export const SERVICE_NAME = 'winnow-under-test';

/** Checks the rules by promtool: their form, and whether each alert fires when it should and stays quiet when it should. */
export function ruleChecks(root: string): Result[] {
  const form = promtool(['check', 'rules', rulesFile(root)]);
  const tests = promtool(['test', 'rules', join(root, 'test/metrics/alerts.test.yaml')]);
  return [
    { claim: 'promtool check rules', seen: form.text.split('\n').at(-1)?.trim() ?? '', passed: form.passed },
    { claim: 'promtool test rules', seen: tests.passed ? 'SUCCESS' : tests.text, passed: tests.passed },
  ];
}

/** Checks the text of the metrics by promtool's linter. */
export async function formatCheck({ url }: Service): Promise<Result> {
  const response = await fetch(`${url}/metrics`);
  const { text, passed } = promtool(['check', 'metrics'], await response.text());
  return { claim: 'promtool check metrics', seen: text || 'nothing to say', passed: passed && text === '' };
}

/** Checks that Prometheus takes OpenMetrics: its exemplars are trace ids that clients sent. */
export function exemplarCheck(ids: readonly string[]): Result {
  const known = ids.filter((id) => /^a+[0-9a-f]+$/.test(id) && id.length === 32);
  return {
    claim: 'histograms name the traces of requests (exemplars)',
    seen: `${ids.length} exemplars, such as ${ids[0] ?? 'none'}`,
    passed: ids.length > 0 && known.length === ids.length,
  };
}

/** Spans that the load of these checks leaves, each below the one named; '' is the caller. */
const EXPECTED_SPANS: readonly (readonly [name: string, parent: string])[] = [
  ['POST /rerank', ''],
  ['POST /v2/rerank', ''],
  ['POST /v1/outcomes', ''],
  ['infer', 'POST /rerank'],
  ['cascade stage', 'POST /v2/rerank'],
  ['infer', 'cascade stage'],
  ['model load', ''],
];

/** Checks what a receiver of traces got: names, parents, resource, no probes, and the traces that exemplars name. */
export function traceChecks({ spans }: Collector, exemplars: readonly string[]): Result[] {
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const pairs = new Set(spans.map(({ name, parentSpanId }) => `${name} < ${byId.get(parentSpanId)?.name ?? ''}`));
  const missing = EXPECTED_SPANS.filter(([name, parent]) => !pairs.has(`${name} < ${parent}`));
  const names = [...new Set(spans.map(({ name }) => name))].toSorted();
  const traces = new Set(spans.map(({ traceId }) => traceId));
  const unknown = exemplars.filter((id) => !traces.has(id));
  const services = [...new Set(spans.map(({ service }) => service))];
  return [
    {
      claim: 'spans of requests, stages and loads reach a receiver of OTLP',
      seen: missing.map(([name, parent]) => `no ${name} below ${parent}`).join(', ') || names.join(', '),
      passed: missing.length === 0,
    },
    {
      claim: 'probes and scrapes have no spans',
      seen: names.filter((name) => /health|metrics/.test(name)).join(', ') || 'none',
      passed: !names.some((name) => /health|metrics/.test(name)),
    },
    {
      claim: 'OTEL_SERVICE_NAME names the service',
      seen: services.join(', '),
      passed: services.join() === SERVICE_NAME,
    },
    {
      claim: 'the traces that exemplars name were received',
      seen: `${exemplars.length - unknown.length} of ${exemplars.length}`,
      passed: exemplars.length > 0 && unknown.length === 0,
    },
  ];
}

/** How long a query may be without data, in milliseconds: counters change meanwhile. */
const PATIENCE_MS = 15_000;

async function seriesOf(prometheus: Prometheus, expression: string, limitMs: number): Promise<number> {
  const ask = async () => {
    const found = await prometheus.query(expression);
    return found.some(({ value }) => !Number.isNaN(value)) ? found.length : undefined;
  };
  return await until('data', ask, limitMs).catch(() => 0);
}

/** Checks that every query of the dashboards and of the page has data, and that one without data is noticed. */
export async function queryChecks(root: string, prometheus: Prometheus): Promise<Result[]> {
  const results: Result[] = [];
  for (const [file, queries] of Map.groupBy(shownQueries(root), ({ where }) => where.split(':', 1)[0] ?? '')) {
    const empty: string[] = [];
    for (const { where, expression } of queries)
      if ((await seriesOf(prometheus, expression, PATIENCE_MS)) === 0) empty.push(`${where}: ${expression}`);
    const seen = `${queries.length - empty.length} of ${queries.length} queries`;
    results.push({
      claim: `data behind ${file}`,
      seen: [seen, ...empty].join('\n       none behind '),
      passed: empty.length === 0,
    });
  }
  const stray = await seriesOf(prometheus, 'sum(rate(winnow_no_such_metric_total[1m]))', 0);
  results.push({ claim: 'a query without data is noticed', seen: `${stray} series`, passed: stray === 0 });
  return results;
}

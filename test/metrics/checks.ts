import { join } from 'node:path';
import { shownQueries } from './dashboards.ts';
import type { Prometheus } from './prometheus.ts';
import { rulesFile } from './rules.ts';
import type { Service } from './service.ts';
import { promtool, type Result, until } from './tools.ts';

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

/** Checks that Prometheus takes OpenMetrics, and that its exemplars are trace ids that clients sent. */
export async function exemplarCheck(prometheus: Prometheus): Promise<Result> {
  const ids = await prometheus.traces('winnow_request_duration_seconds_bucket');
  const known = ids.filter((id) => /^a+[0-9a-f]+$/.test(id) && id.length === 32);
  return {
    claim: 'histograms name the traces of requests (exemplars)',
    seen: `${ids.length} exemplars, such as ${ids[0] ?? 'none'}`,
    passed: ids.length > 0 && known.length === ids.length,
  };
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

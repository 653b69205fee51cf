import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest';
import type { LossCause, PoolEvent } from '../../src/inference/pool-observer.ts';
import { LANES } from '../../src/scheduling/scheduling-types.ts';
import { createMetrics } from '../../src/telemetry/instruments.ts';
import { METRICS } from '../../src/telemetry/metrics.ts';
import { metricsMarkdown } from '../../src/telemetry/page.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const metrics = createMetrics();
afterAll(() => metrics.close());

const names = Object.values(METRICS).map(({ name }) => name as string);

/** The row of each name under which a metric can be queried. */
const ROW_OF: Readonly<Record<string, { readonly labels: readonly string[] }>> = Object.fromEntries(
  Object.values(METRICS).flatMap((row) => ['', '_bucket', '_sum', '_count'].map((end) => [`${row.name}${end}`, row])),
);

const EVENTS = ['ready', 'lost', 'restart', 'recycle', 'model_missing', 'outage'] as const;
const CAUSES = ['crashed', 'killed', 'faulty'] as const;

/** Values of labels that have a fixed set of them. */
const VALUES: Readonly<Record<string, readonly string[]>> = { event: EVENTS, cause: CAUSES, lane: LANES };

/** Labels that Prometheus gives to every series of a scraped pod. */
const TARGET_LABELS = ['namespace', 'pod', 'job', 'instance', 'service', 'endpoint', 'container'];

/** Texts that may name metrics, with the escapes of Markdown tables and JSON resolved. */
const PAGES = ['README.md', ...filesIn('docs'), ...filesIn('k8s')].map(
  (path) => [path, readFileSync(join(ROOT, path), 'utf8').replaceAll(/\\(["|])/g, '$1')] as const,
);

function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.(md|ya?ml|json)$/.test(path))
    .map((path) => join(folder, path));
}

describe('metrics and their page', () => {
  it('docs/metrics.md is what the table says (npx vitest run test/drift -u writes it anew)', async () => {
    const all = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    const ofNode = all.filter((name) => !name.startsWith('winnow_'));
    await expect(metricsMarkdown(ofNode)).toMatchFileSnapshot(join(ROOT, 'docs', 'metrics.md'));
  });

  it('the registry has the metrics of the table and no others with the prefix', () => {
    const held = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    expect(held.filter((name) => name.startsWith('winnow_')).toSorted()).toEqual(names.toSorted());
  });

  it('no page, manifest or dashboard names a metric that does not exist', () => {
    const strangers: string[] = [];
    for (const [path, text] of PAGES)
      for (const [name] of text.matchAll(
        /\bwinnow_[a-z_]+(_total|_seconds|_bytes|_ratio|_rows|_tokens|_jobs|_info|_bucket|_sum|_count)\b/g,
      ))
        if (!(name in ROW_OF)) strangers.push(`${path}: ${name}`);
    expect(strangers).toEqual([]);
  });

  it('no query selects a label or a value that a metric never has', () => {
    const strangers: string[] = [];
    for (const [path, text] of PAGES)
      for (const [selector, name, matchers] of text.matchAll(/\b(winnow_\w+)\{([^}]*)\}/g))
        for (const [, label, values] of matchers!.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/g)) {
          const known = VALUES[label!];
          const unknown = known ? values!.split('|').filter((value) => !known.includes(value)) : [];
          const labels = [...(ROW_OF[name!]?.labels ?? []), ...(name! in ROW_OF ? TARGET_LABELS : [])];
          if (!labels.includes(label!) || unknown.length > 0) strangers.push(`${path}: ${selector}`);
        }
    expect(strangers).toEqual([]);
  });

  it('the help of the event counter names every event and cause', () => {
    for (const value of [...EVENTS, ...CAUSES]) expect(METRICS.hostEvents.help).toMatch(new RegExp(`\\b${value}\\b`));
    expectTypeOf<(typeof EVENTS)[number]>().toEqualTypeOf<Exclude<PoolEvent['kind'], 'retry' | 'split' | 'output'>>();
    expectTypeOf<(typeof CAUSES)[number]>().toEqualTypeOf<LossCause>();
  });

  it('every metric is written somewhere outside its table', () => {
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.endsWith('telemetry/metrics.ts'))
      .map((path) => readFileSync(join(ROOT, 'src', path), 'utf8'))
      .join('\n');
    const ownCollectors = ['paddingRatio', 'eventLoopDelay'];
    const idle = Object.keys(METRICS).filter(
      (key) => !ownCollectors.includes(key) && !new RegExp(`\\bmetrics\\.${key}\\b`).test(sources),
    );
    expect(idle).toEqual([]);
  });
});

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createMetrics, METRICS } from '../../src/telemetry/metrics.ts';
import { metricsMarkdown } from '../../src/telemetry/page.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const metrics = createMetrics();
afterAll(() => metrics.close());

const ours = Object.values(METRICS).map(({ name }) => name as string);

describe('metrics and their page', () => {
  it('docs/metrics.md is what the table says (npx vitest run test/drift -u writes it anew)', async () => {
    const all = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    const ofNode = all.filter((name) => !name.startsWith('winnow_'));
    await expect(metricsMarkdown(ofNode)).toMatchFileSnapshot(join(ROOT, 'docs', 'metrics.md'));
  });

  it('the registry holds the table and nothing else under our prefix', () => {
    const held = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    expect(held.filter((name) => name.startsWith('winnow_')).toSorted()).toEqual(ours.toSorted());
  });

  it('no page, manifest or dashboard names a metric that is none', () => {
    const known = new Set(ours.flatMap((name) => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]));
    const pages = ['docs', 'k8s'].flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
        .filter((path) => /\.(md|ya?ml|json)$/.test(path))
        .map((path) => join(folder, path)),
    );
    const strangers: string[] = [];
    for (const path of ['README.md', ...pages])
      for (const [name] of readFileSync(join(ROOT, path), 'utf8').matchAll(
        /\bwinnow_[a-z_]+(_total|_seconds|_bytes|_ratio|_rows|_tokens|_jobs|_info|_bucket|_sum|_count)\b/g,
      ))
        if (!known.has(name)) strangers.push(`${path}: ${name}`);
    expect(strangers).toEqual([]);
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

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { openPassages } from '../../src/main/open-passages.ts';
import type { ServedVersion } from '../../src/registry/registry-types.ts';
import { type PassageSharing, versionFile } from '../../src/rerank/kept-passages.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/instruments.ts';
import { MODELS } from '../support/shipped.ts';

let metrics: Metrics;
let warned: string[];
beforeEach(() => {
  metrics = createMetrics({ processMetrics: false });
  warned = [];
});
afterEach(() => metrics.close());

const open = (bytes: number, ...flags: string[]) => {
  const warn = (...said: unknown[]) => void warned.push(said.map((one) => JSON.stringify(one)).join(' '));
  const logger = { warn, info: () => {}, error: () => {} };
  return openPassages(loadConfig(['--models', MODELS, ...flags], {}), bytes, { metrics, logger });
};

const version: ServedVersion = {
  name: 'e',
  version: '1',
  key: 'e@1',
  folder: '/models/e/1',
  maxLength: 512,
  activation: 'none',
  reduction: { kind: 'single' },
  encoder: { queryPrefix: '', passagePrefix: '', scale: 1 },
  objective: undefined,
  variant: 'fp32',
  provider: 'cpu',
  sha256: 'a',
  warnings: [],
};

const sample = async (series: string): Promise<string | undefined> =>
  (await metrics.render()).text
    .split('\n')
    .find((line) => line.startsWith(`${series} `))
    ?.slice(series.length + 1);

/** Reads rows of one token each. */
async function read({ cache }: PassageSharing, ids: readonly number[]): Promise<void> {
  const model = { ...versionFile(version), salt: '' };
  const rows = ids.map((id) => ({ ids: Int32Array.of(id) }));
  const keys = await cache.keys({ model, passagePrefix: '', cut: '512' }, rows);
  const urgency = { share: '', lane: 0, priority: 0, guard: <T>(promise: Promise<T>) => promise };
  await cache.hold(
    { model, keys, lengths: rows.map(() => 1), ...urgency },
    async (missing) => missing.map(() => new Uint8Array(400)),
    () => {},
  );
  cache.noteEncoded(model, 500);
}

describe('the passage cache of a server', () => {
  it('is counted at each scrape, from 0 on', async () => {
    const { sharing, observer } = await open(2 ** 20);
    observer.onLoaded({ version, loadMs: 1, bytes: 1 });
    const of = '{model="e",version="1"}';
    expect(await sample(`winnow_passage_hits_total${of}`)).toBe('0');
    await read(sharing!, [1, 2, 3]);
    await read(sharing!, [2, 3, 4, 5]);
    expect(await sample(`winnow_passage_hits_total${of}`)).toBe('2');
    expect(await sample(`winnow_passage_misses_total${of}`)).toBe('5');
    expect(await sample(`winnow_passage_entries${of}`)).toBe('5');
    expect(await sample(`winnow_passage_evictions_total${of}`)).toBe('0');
    expect(await sample(`winnow_passage_encode_seconds_total${of}`)).toBe('1');
    expect(await sample('winnow_cache_hits_total{cache="passages"}')).toBe('2');
    expect(Number(await sample('winnow_cache_bytes{cache="passages"}'))).toBeLessThanOrEqual(2 ** 20);
    await read(sharing!, [1]);
    expect(await sample(`winnow_passage_hits_total${of}`)).toBe('3');
  });

  it('frees the entries of a version with its last copy', async () => {
    const { sharing, observer } = await open(2 ** 20);
    observer.onLoaded({ version, loadMs: 1, bytes: 1 });
    observer.onLoaded({ version, loadMs: 1, bytes: 1 });
    await read(sharing!, [1, 2]);
    observer.onUnloaded({ version, cause: 'replaced' });
    expect(sharing!.cache.stats().entries).toBe(2);
    const changed = { ...version, graphId: 'other data' };
    observer.onLoaded({ version: changed, loadMs: 1, bytes: 1 });
    observer.onUnloaded({ version: changed, cause: 'replaced' });
    expect(sharing!.cache.stats().entries).toBe(2);
    observer.onUnloaded({ version, cause: 'replaced' });
    await expect.poll(() => sharing!.cache.stats().entries).toBe(0);
  });

  it('is off with 0 bytes, and warns of sharing without keys', async () => {
    expect((await open(0)).sharing).toBeUndefined();
    expect(warned).toEqual([]);
    expect((await open(2 ** 20, '--cache-shared', 'true')).sharing).toMatchObject({ shared: true });
    expect(warned).toEqual([expect.stringContaining('without auth.keysFile all requests share entries')]);
  });
});

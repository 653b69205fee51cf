import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createLoadClient } from '../../bench/load/client.ts';
import { startNullServer } from '../../bench/load/null-registry.ts';
import { nullScore } from '../../bench/load/null-score.ts';
import { simulate } from '../../bench/load/simulation.ts';

const perRow = { 'event loop': 20e-6, tokenizer: 100e-6, 'collector and files': 10e-6, host: 4e-6 };

it('a machine is limited by its slowest stage, or by its cores', () => {
  for (const [cores, tokenizers, limit, rate] of [
    [8, 2, 'tokenizer', 20_000],
    [8, 7, 'event loop', 50_000],
    [2, 7, 'cores', 2 / 134e-6],
  ] as const) {
    const simulated = simulate(perRow, { cores, tokenizers, hosts: 2 });
    expect(simulated.limit).toBe(limit);
    expect(simulated.rowsPerSecond).toBeCloseTo(rate, 6);
  }
  expect(simulate({ ...perRow, tokenizer: 0 }, { cores: 8, tokenizers: 1, hosts: 2 }).limit).toBe('event loop');
});

it('the null engine gives another logit for another row, within range', () => {
  const ids = fc.array(fc.nat(30_000), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(ids, fc.nat(), fc.integer({ min: 1, max: 30_000 }), (row, at, change) => {
      const other = row.map((id, i) => (i === at % row.length ? id + change : id));
      const score = nullScore(Int32Array.from(row));
      expect(Math.abs(score)).toBeLessThanOrEqual(8);
      expect(nullScore(Int32Array.from(row))).toBe(score);
      expect(nullScore(Int32Array.from(other))).not.toBe(score);
    }),
  );
});

it('a server without an engine serves from all its devices', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-null-'));
  const server = await startNullServer(folder, { devices: 2, flags: ['--scheduling-batch-rows', '4'] });
  const client = createLoadClient(server.url);
  try {
    const info = await (await fetch(`${server.url}/info`)).json();
    expect(info).toMatchObject({ provider: 'cuda', hosts: 2, devices: [0, 1] });
    const passages = Array.from({ length: 60 }, (_, i) => `passage number ${i}`);
    const request = { query: 'which one', passages };
    const [together, alone] = await Promise.all([
      client.rerank(request),
      client.rerank({ ...request, passages: passages.slice(7, 8) }),
    ]);
    expect(alone.scores![0]).toBe(together.scores![7]);
    expect(new Set(together.scores).size).toBe(60);
    for (const device of ['0', '1']) {
      expect(await server.metric(`winnow_device_hosts{device="${device}"}`)).toBe(1);
      const batches = `winnow_host_batches_total{host="${device}",device="${device}"}`;
      expect(await server.metric(batches)).toBeGreaterThan(0);
    }
  } finally {
    client.close();
    await server.stop();
    rmSync(folder, { recursive: true });
  }
}, 30_000);

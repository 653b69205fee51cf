import { createHostPool } from '../../../src/inference/host-pool.ts';
import { createSession, PROBE } from '../../../src/inference/providers.ts';
import { randomRows } from '../batches.ts';
import { benchModel, fileOf } from '../bench-models.ts';
import { PAIR_TOKENS } from '../context.ts';
import { report } from '../findings.ts';
import type { Check } from './check.ts';

/** Whether the provider opens, and how long the first batches take. */
export const start: Check = {
  name: 'start',
  question: 'Does the provider open its device, and how long does a host take to its first scores?',
  seconds: 90,
  async run(context) {
    const { provider } = context;
    const begin = performance.now();
    const session = await createSession(PROBE, { provider, threads: 1 });
    report({ what: `${provider} opens a session`, status: 'right', value: performance.now() - begin, unit: 'ms' });
    await session.release();
    const model = await benchModel('minilm-l6', context);
    const count = context.small ? 2 : 32;
    const from = performance.now();
    // A software Vulkan driver compiles and runs at a crawl.
    const pool = await createHostPool({ provider, hosts: 1, batchTimeoutMs: 80_000 });
    const passed = (what: string, since: number) =>
      report({ what, status: 'measured', value: performance.now() - since, unit: 'ms' });
    passed('host ready', from);
    try {
      const load = performance.now();
      await pool.load({
        key: 'start',
        file: fileOf(model, context.small ? 'fp32' : 'fp16'),
        padId: 0,
        maxLength: model.maxLength,
        reduction: { kind: 'single' },
      });
      passed('MiniLM-L6 loaded', load);
      for (const [what, length] of [
        ['first batch', PAIR_TOKENS],
        ['second batch of that shape', PAIR_TOKENS],
        ['first batch of another shape', PAIR_TOKENS / 2],
      ] as const) {
        const rows = randomRows(count, () => length, model.vocabulary);
        const before = performance.now();
        await pool.run('start', rows);
        passed(`${what}, ${count} rows × ${length}`, before);
      }
    } finally {
      await pool.close();
    }
  },
};

import { execFile } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { startServer } from '../../src/main/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { ROOT, Scratch } from './support.ts';

const RECIPE = join(ROOT, 'recipes/first-run');
const scratch = new Scratch();
afterAll(() => scratch.clear());

const winnow = async (...args: readonly string[]) =>
  (await promisify(execFile)(process.execPath, [join(ROOT, 'bin/winnow.mjs'), ...args], { maxBuffer: 1e8 })).stdout;

describe('the first training run', () => {
  it('names nothing outside its folder but where it publishes, and is small', () => {
    const text = readFileSync(join(RECIPE, 'recipe.yaml'), 'utf8');
    expect(text.match(/\.\.\/\S*/g)).toEqual(['../../runs/first-run/registry,']);
    const sizeOf = (folder: string) =>
      readdirSync(join(RECIPE, folder), { recursive: true, encoding: 'utf8' })
        .map((file) => statSync(join(RECIPE, folder, file)))
        .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
    expect(sizeOf('backbone')).toBeLessThanOrEqual(2_000_000);
    expect(sizeOf('data')).toBeLessThanOrEqual(500_000);
  });

  it('trains, beats its first stage and publishes a version that answers', async () => {
    const home = scratch.make();
    const folder = join(home, 'recipes/first-run');
    cpSync(RECIPE, folder, { recursive: true });
    const out = await winnow('train', join(folder, 'recipe.yaml'), '--run', join(home, 'run'));
    expect(out).toContain('published first-run@1');
    // The first stage, measured by itself.
    const qrels = join(folder, 'data/qrels/test.tsv');
    const measured = await winnow('measure', '--qrels', qrels, '--run', join(folder, 'data/bm25.tsv'), 'nDCG@10');
    const firstStage = Number(/nDCG@10\s+all\s+(\S+)/.exec(measured)?.[1]);
    const values = readFileSync(join(home, 'run/curve.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { measure?: string; value?: number })
      .flatMap(({ measure, value }) => (measure === 'nDCG@10' && value !== undefined ? [value] : []));
    expect(firstStage).toBeGreaterThan(0.5);
    expect(Math.max(...values)).toBeGreaterThan(firstStage);
    const config = loadConfig(
      ['--models', join(home, 'runs/first-run/registry'), '--port', '0', '--host', '127.0.0.1'],
      {},
    );
    const server = await startServer(config, createLogger('silent'));
    try {
      expect(await server.warm).toBe(true);
      const answer = await fetch(`${server.url}/rerank`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          query: 'when do they pick up my garbage',
          texts: [
            'The swimming pool opens at seven on weekdays.',
            'Household bins are emptied once a week. Put the container at the curb by six in the morning.',
          ],
        }),
      });
      const scores = (await answer.json()) as { index: number }[];
      expect(scores[0]?.index).toBe(1);
    } finally {
      await server.close();
    }
  });
});

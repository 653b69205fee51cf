import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calibrate, fastest, syntheticRows, type Trial } from '../../src/inference/calibrate.ts';
import { type GraphFolder, graphFolder, sumGraph } from './graphs.ts';

const trial = (hosts: number, threads: number, rowsPerSecond: number): Trial => ({ hosts, threads, rowsPerSecond });

describe('the fastest layout', () => {
  it.each<[string, readonly Trial[], string]>([
    ['is the one with the most rows a second', [trial(1, 4, 100), trial(2, 2, 150), trial(4, 1, 120)], '2x2'],
    ['has fewer processes where the gain is noise', [trial(4, 1, 102), trial(1, 4, 100), trial(2, 2, 101)], '1x4'],
    ['is the only one', [trial(1, 1, 3)], '1x1'],
  ])('%s', (_, trials, expected) => {
    const { hosts, threads } = fastest(trials);
    expect(`${hosts}x${threads}`).toBe(expected);
  });
});

describe('calibration', () => {
  let folder: GraphFolder;
  beforeAll(async () => {
    folder = await graphFolder();
  });
  afterAll(() => folder.remove());

  it('runs the model in every layout and takes one of them', async () => {
    const candidates = [
      { hosts: 1, threads: 2 },
      { hosts: 2, threads: 1 },
    ];
    const seen: Trial[] = [];
    const { best, trials } = await calibrate(await folder.write('sum', sumGraph()), {
      candidates,
      rounds: 1,
      onTrial: (t) => seen.push(t),
    });
    expect(trials).toEqual(seen);
    expect(trials.map(({ hosts, threads }) => ({ hosts, threads }))).toEqual(candidates);
    expect(trials.every(({ rowsPerSecond }) => rowsPerSecond > 0)).toBe(true);
    expect(candidates).toContainEqual(best);
  });

  it('says what is wrong with the model', async () => {
    const spec = await folder.write('sum', sumGraph());
    await expect(calibrate({ ...spec, file: `${spec.file}.none` })).rejects.toMatchObject({ code: 'invalid_graph' });
  });

  it('makes rows no longer than the model takes', () => {
    for (const maxLength of [1, 8, 64, 8192]) {
      const lengths = syntheticRows(maxLength).map(({ ids }) => ids.length);
      expect(Math.max(...lengths)).toBeLessThanOrEqual(Math.min(256, maxLength));
      expect(Math.min(...lengths)).toBeGreaterThan(0);
    }
  });
});

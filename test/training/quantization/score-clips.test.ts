import { describe, expect, it } from 'vitest';
import { chooseClips } from '../../../src/training/quantization/score-clips.ts';
import { createRandom } from '../../../src/util/random.ts';

const CHANNELS = 8;

/** States of tokens; one of them, which the sample lacks, has the largest value. */
function statistics(values: (random: ReturnType<typeof createRandom>) => number, outlier: number) {
  const random = createRandom(11);
  const sample = Float32Array.from({ length: 32 * CHANNELS }, () => values(random));
  const own = sample.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const peaks = new Float32Array(CHANNELS).fill(own * outlier);
  return { sample, count: 32, channelMaxima: peaks, channelPeaks: peaks, channelMinima: peaks };
}

const balance = new Float32Array(CHANNELS).fill(1);

describe('chooseClips', () => {
  it('clips ranges that hardly any state reaches', () => {
    const rare = statistics((random) => random.normal(), 2);
    expect(chooseClips(rare, rare, balance, 4)).toEqual({ query: 0.55, key: 0.55 });
  });

  it('covers the whole range where every state is at its ends', () => {
    const ends = statistics((random) => (random.next() < 0.5 ? -1 : 1), 1);
    expect(chooseClips(ends, ends, balance, 4)).toEqual({ query: 1, key: 1 });
  });
});

import { type SampleRatio, sampleRatio } from '../../../src/experiments/analysis/sample-ratio.ts';
import { SequentialRatio } from '../../../src/experiments/analysis/sequential-ratio.ts';

/** Tests counts alone, as if units had come in equal proportions at all times. */
export function evenRatio(counts: readonly number[], weights: readonly number[]): SampleRatio {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => weight / total);
  const ratio = new SequentialRatio(counts.length);
  const units = counts.reduce((sum, count) => sum + count, 0);
  const seen = counts.map(() => 0);
  for (let i = 1; i <= units; i++) {
    const lag = (arm: number) => (counts[arm]! * i) / units - seen[arm]!;
    const arm = counts.reduce((most, _, at) => (lag(at) > lag(most) ? at : most), 0);
    seen[arm]!++;
    ratio.add(arm, shares);
  }
  const arms = counts.map((count, i) => ({ name: `${i}`, weight: weights[i]!, units: count }));
  return sampleRatio(arms, ratio.p)!;
}

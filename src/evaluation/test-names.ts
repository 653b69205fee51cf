import type { PairedTest } from '../statistics/comparison.ts';
import type { Correction } from '../statistics/corrections.ts';

/** Names of paired tests in reports. */
export const TEST_NAMES: Readonly<Record<PairedTest, string>> = {
  t: 'Paired t-test',
  randomisation: 'Fisher’s randomization test',
  wilcoxon: 'Wilcoxon’s signed-rank test',
};

/** Names of corrections in reports. */
export const CORRECTION_NAMES: Readonly<Record<Correction, string>> = {
  holm: 'Holm',
  bonferroni: 'Bonferroni',
  'benjamini-hochberg': 'Benjamini–Hochberg',
  none: 'no correction',
};

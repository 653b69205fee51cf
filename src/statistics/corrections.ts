export type Correction = 'holm' | 'bonferroni' | 'benjamini-hochberg' | 'none';

type Adjust = (p: readonly number[]) => number[];

const cap = (p: number): number => Math.min(1, p);

const orderOf = (p: readonly number[]): number[] => p.map((_, i) => i).sort((a, b) => p[a]! - p[b]!);

/** Bonferroni: p · m. Controls the probability of any false finding among m comparisons. */
const bonferroni: Adjust = (p) => p.map((value) => cap(value * p.length));

/** Holm 1979: the k-th smallest p times (m − k + 1), never below the one before. Same guarantee as Bonferroni, at least its power. */
export const holm: Adjust = (p) => {
  const adjusted = new Array<number>(p.length);
  let floor = 0;
  orderOf(p).forEach((index, k) => {
    floor = Math.max(floor, cap(p[index]! * (p.length - k)));
    adjusted[index] = floor;
  });
  return adjusted;
};

/** Benjamini and Hochberg 1995: controls the expected share of false findings. */
const benjaminiHochberg: Adjust = (p) => {
  const adjusted = new Array<number>(p.length);
  let ceiling = 1;
  orderOf(p)
    .reverse()
    .forEach((index, k) => {
      ceiling = Math.min(ceiling, (p[index]! * p.length) / (p.length - k));
      adjusted[index] = ceiling;
    });
  return adjusted;
};

const ADJUST: Readonly<Record<Correction, Adjust>> = {
  holm,
  bonferroni,
  'benjamini-hochberg': benjaminiHochberg,
  none: (p) => [...p],
};

/**
 * Adjusts a family of p-values. NaN means no comparison (a baseline against itself): it stays NaN and is not a member of the family.
 */
export function adjust(p: readonly number[], correction: Correction): number[] {
  const members = p.map((_, i) => i).filter((i) => !Number.isNaN(p[i]!));
  const adjusted = ADJUST[correction](members.map((i) => p[i]!));
  const out = new Array<number>(p.length).fill(Number.NaN);
  members.forEach((index, i) => {
    out[index] = adjusted[i]!;
  });
  return out;
}

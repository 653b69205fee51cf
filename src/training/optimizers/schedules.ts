/** How the learning rate decays after the warm-up. */
export const SCHEDULES = ['linear', 'cosine', 'constant'] as const;
type ScheduleName = (typeof SCHEDULES)[number];

interface Schedule {
  readonly name: ScheduleName;
  /** Steps of linear rise from 0 to the peak. */
  readonly warmup: number;
  readonly total: number;
  /** Share of the peak that the decay ends at; 0 if absent. */
  readonly floor?: number;
}

/** Share of the peak at progress 0 … 1 after the warm-up. */
const DECAYS: Readonly<Record<ScheduleName, (progress: number) => number>> = {
  linear: (progress) => 1 - progress,
  cosine: (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)),
  constant: () => 1,
};

/**
 * Returns the factor on the peak learning rate: step / warm-up while it rises, then the decay, which ends at the last step; for `linear`
 * (total − step) / (total − warm-up), as in arXiv 2603.03010. With a floor f it is f + (1 − f)·decay.
 * @param step counted from 1.
 */
export function scheduleFactor({ name, warmup, total, floor = 0 }: Schedule, step: number): number {
  if (step < warmup) return step / warmup;
  if (total <= warmup) return 1;
  return floor + (1 - floor) * DECAYS[name](Math.min(1, (step - warmup) / (total - warmup)));
}

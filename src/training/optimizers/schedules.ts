/** How the learning rate moves. */
export const SCHEDULES = ['linear', 'cosine', 'constant'] as const;
type ScheduleName = (typeof SCHEDULES)[number];

interface Schedule {
  readonly name: ScheduleName;
  /** Steps of linear rise from 0 before the peak. */
  readonly warmup: number;
  readonly total: number;
}

/** Share of the peak after the warm-up, at progress 0 … 1. */
const DECAYS: Readonly<Record<ScheduleName, (progress: number) => number>> = {
  linear: (progress) => 1 - progress,
  cosine: (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)),
  constant: () => 1,
};

/**
 * Factor on the peak learning rate at a step, counted from 1: step / warm-up while it rises, then the decay, which reaches its end at the
 * last step: (total − step) / (total − warm-up) for `linear`, as in arXiv 2603.03010.
 */
export function scheduleFactor({ name, warmup, total }: Schedule, step: number): number {
  if (step < warmup) return step / warmup;
  if (total <= warmup) return 1;
  return DECAYS[name](Math.min(1, (step - warmup) / (total - warmup)));
}

import type { TopLevelSpec } from 'vega-lite';
import { standaloneSvg } from './vega.ts';

/** Most points of a line: more are not visible at 640 pixels and only make the file larger. */
const MOST_POINTS = 400;

/** Averages stretches of consecutive steps, so that a long run's loss reads as a line. */
function thinned(
  points: readonly { readonly step: number; readonly loss: number }[],
): { step: number; loss: number }[] {
  const size = Math.max(1, Math.ceil(points.length / MOST_POINTS));
  const thin: { step: number; loss: number }[] = [];
  for (let at = 0; at < points.length; at += size) {
    const part = points.slice(at, at + size);
    const mean = (value: (p: (typeof part)[number]) => number) =>
      part.reduce((sum, p) => sum + value(p), 0) / part.length;
    thin.push({ step: Math.round(mean((p) => p.step)), loss: mean((p) => p.loss) });
  }
  return thin;
}

function panel(title: string, field: string, values: readonly object[], points: boolean) {
  return {
    width: 640,
    height: 180,
    data: { values: [...values] },
    mark: { type: 'line', point: points },
    encoding: {
      x: { field: 'step', type: 'quantitative', title: 'step' },
      y: { field, type: 'quantitative', title, scale: { zero: false } },
    },
  } as const;
}

/** What a training run recorded: the loss of each step, and the measure of each validation. */
interface TrainingCurve {
  readonly title: string;
  readonly losses: readonly { readonly step: number; readonly loss: number }[];
  readonly checks: readonly { readonly step: number; readonly measure: string; readonly value: number }[];
}

/** Draws loss and validation over the steps of a run as one SVG file. */
export function trainingCurveSvg({ title, losses, checks }: TrainingCurve): Promise<string> {
  const vconcat = [
    panel('loss', 'loss', thinned(losses), false),
    ...(checks.length > 0 ? [panel(checks[0]!.measure, 'value', checks, true)] : []),
  ];
  const spec: TopLevelSpec = { title, vconcat };
  return standaloneSvg(spec);
}

import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

/** Points a line may have: more cannot be seen and only make the file big. */
const MOST_POINTS = 400;

/** Means of stretches of neighboring steps, so that a long run's loss reads as a line. */
export function thinned(
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

function panel(title: string, field: string, values: readonly object[], points: boolean): object {
  return {
    width: 640,
    height: 180,
    data: { values },
    mark: { type: 'line', point: points },
    encoding: {
      x: { field: 'step', type: 'quantitative', title: 'step' },
      y: { field, type: 'quantitative', title, scale: { zero: false } },
    },
  };
}

/** What a training run recorded: the loss of each step, and the measure of each validation. */
export interface TrainingCurve {
  readonly title: string;
  readonly losses: readonly { readonly step: number; readonly loss: number }[];
  readonly checks: readonly { readonly step: number; readonly measure: string; readonly value: number }[];
}

/** Draws loss and validation over the steps of a run as one SVG. */
export async function trainingCurveSvg({ title, losses, checks }: TrainingCurve): Promise<string> {
  const panels = [
    panel('loss', 'loss', thinned(losses), false),
    ...(checks.length > 0 ? [panel(checks[0]!.measure, 'value', checks, true)] : []),
  ];
  const spec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title,
    background: 'white',
    vconcat: panels,
  } as unknown as TopLevelSpec;
  return new View(parse(compile(spec).spec), { renderer: 'none' }).toSVG();
}

import { useWidth } from './hooks.ts';
import { bandPath, extent, linear, linePath } from './scale.ts';

const HEIGHT = 44;
/** Fewer values than this fill only a part of the width, so that the line moves instead of being rescaled. */
const FULL_WIDTH_VALUES = 45;

interface SparklineProps {
  readonly label: string;
  readonly values: readonly number[];
  readonly text: (value: number) => string;
}

/** A line of a value over the last minutes, with its maximum as text. */
export function Sparkline({ label, values, text }: SparklineProps) {
  const [ref, width] = useWidth<HTMLDivElement>(240);
  const [, high] = extent(values);
  const x = linear([Math.min(0, values.length - FULL_WIDTH_VALUES), Math.max(1, values.length - 1)], [1, width - 1]);
  const y = linear([0, high > 0 ? high : 1], [HEIGHT - 1, 2]);
  const points = values.map((value, i) => [x(i), y(value)] as const);
  const area = bandPath(values.map((value, i) => [x(i), y(0), y(value)] as const));
  const summary = values.some(Number.isFinite)
    ? `${label}: at most ${text(high)} in the time shown`
    : `${label}: no data yet`;
  return (
    <div ref={ref}>
      <svg class="sparkline" width={width} height={HEIGHT} role="img" aria-label={summary}>
        <path class="spark-area" d={area} />
        <path class="spark-line" d={linePath(points)} />
        <line class="spark-base" x1="0" x2={width} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      </svg>
      <p class="spark-top tabular">max {values.some(Number.isFinite) ? text(high) : '–'}</p>
    </div>
  );
}

import type { Interval } from '../../../experiments/analysis/estimates.ts';
import { figure, moment, percent, signed } from '../format.ts';
import { useWidth } from '../hooks.ts';
import { Table } from '../parts.tsx';
import { bandPath, linear, linePath, ticks } from '../scale.ts';
import { type EffectSeries, type Point, verticalRange } from './interval-points.ts';

const HEIGHT = 220;
const LEFT = 58;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 26;

export const effectText = (value: number, relative: boolean): string =>
  signed(relative ? percent(value, 2) : figure(value));

export const intervalText = ([low, high]: Interval, relative: boolean): string =>
  `${effectText(low, relative)} to ${effectText(high, relative)}`;

/** A time as short as the span of the axis allows. */
function timeText(at: number, span: number): string {
  const text = moment(at);
  return span > 2 * 86_400_000 ? text.slice(5, 10) : text.slice(11);
}

interface ChartProps {
  readonly label: string;
  readonly series: EffectSeries;
}

/** Shows an effect and its intervals over time, and the same figures as a table. */
export function IntervalChart({ label, series: { relative, points } }: ChartProps) {
  const [ref, width] = useWidth<HTMLDivElement>(240);
  const range = verticalRange(points);
  const times: Interval = [points[0]?.at ?? 0, points.at(-1)?.at ?? 1];
  const x = linear(times, [LEFT, width - RIGHT]);
  const scale = linear(range, [HEIGHT - BOTTOM, TOP]);
  const y = (value: number) => Math.max(TOP, Math.min(HEIGHT - BOTTOM, scale(value)));
  const band = (of: (p: Point) => Interval) =>
    bandPath(points.map((p) => [x(p.at), y(of(p)[0]), y(of(p)[1])] as const));
  const marks = width > 480 ? [0, 1 / 3, 2 / 3, 1] : [0, 1];
  return (
    <figure class="chart">
      <div ref={ref}>
        <svg width={width} height={HEIGHT} role="img" aria-label={label}>
          {ticks(range, 4).map((value) => (
            <g key={value}>
              <line class={value === 0 ? 'zero' : 'grid'} x1={LEFT} x2={width - RIGHT} y1={y(value)} y2={y(value)} />
              <text class="tick" x={LEFT - 8} y={y(value) + 4} text-anchor="end">
                {effectText(Math.abs(value) < 1e-12 ? 0 : value, relative).replace(/\.?0+(?=\D*$)/, '')}
              </text>
            </g>
          ))}
          <path class="band-outer" d={band((p) => p.alwaysValid)} />
          <path class="band-inner" d={band((p) => p.fixed)} />
          <path
            class="effect"
            d={linePath(points.map((p) => [x(p.at), Number.isFinite(p.value) ? y(p.value) : Number.NaN] as const))}
          />
          {marks.map((share, i) => {
            const at = times[0] + share * (times[1] - times[0]);
            return (
              <text
                key={share}
                class="tick"
                x={x(at)}
                y={HEIGHT - 6}
                text-anchor={i === 0 ? 'start' : i === marks.length - 1 ? 'end' : 'middle'}
              >
                {timeText(at, times[1] - times[0])}
              </text>
            );
          })}
        </svg>
      </div>
      <figcaption class="legend">
        <span class="key-line">effect</span>
        <span class="key-outer">always-valid interval, safe to watch</span>
        <span class="key-inner">fixed-horizon interval, for one look</span>
      </figcaption>
      <details>
        <summary>Figures</summary>
        <Table
          caption={label}
          head={['Time (UTC)', 'Units', 'Effect', 'Always-valid', 'Fixed horizon']}
          rows={points
            .filter(({ value }) => Number.isFinite(value))
            .map(({ at, units, value, alwaysValid, fixed }) => [
              moment(at),
              String(units),
              effectText(value, relative),
              intervalText(alwaysValid, relative),
              intervalText(fixed, relative),
            ])}
        />
      </details>
    </figure>
  );
}

/* Linear scales and SVG paths. All functions are pure. */

type Scale = (value: number) => number;

/** Returns the linear map from `[from, to]` to `[a, b]`; an empty range maps to the middle. */
export function linear([from, to]: readonly [number, number], [a, b]: readonly [number, number]): Scale {
  const width = to - from;
  return (value) => (width === 0 ? (a + b) / 2 : a + ((value - from) / width) * (b - a));
}

/** Returns minimum and maximum of the finite values. */
export function extent(values: readonly number[]): readonly [number, number] {
  const finite = values.filter(Number.isFinite);
  return finite.length === 0 ? [0, 1] : [Math.min(...finite), Math.max(...finite)];
}

/** Returns about `wanted` round values inside a range. */
export function ticks([low, high]: readonly [number, number], wanted: number): readonly number[] {
  const raw = (high - low) / Math.max(1, wanted);
  if (!(raw > 0)) return [low];
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * magnitude).find((s) => s >= raw)!;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

const coordinate = (value: number) => Math.round(value * 10) / 10;

/** Returns the path of a line through points; a NaN interrupts it. */
export function linePath(points: readonly (readonly [x: number, y: number])[]): string {
  let path = '';
  let pen = 'M';
  for (const [x, y] of points) {
    if (!Number.isFinite(y)) {
      pen = 'M';
      continue;
    }
    path += `${pen}${coordinate(x)} ${coordinate(y)}`;
    pen = 'L';
  }
  return path;
}

/** Returns the path of the area between two lines with the same x. */
export function bandPath(points: readonly (readonly [x: number, low: number, high: number])[]): string {
  const finite = points.filter(([, low, high]) => Number.isFinite(low) && Number.isFinite(high));
  if (finite.length < 2) return '';
  const top = finite.map(([x, , high]) => [x, high] as const);
  const bottom = finite.map(([x, low]) => [x, low] as const).toReversed();
  return `${linePath([...top, ...bottom])}Z`;
}

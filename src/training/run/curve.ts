import { existsSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import { namingPath, writeFileAtomic } from '../../util/files.ts';
import { parseJson } from '../../util/parse-json.ts';

/** A run's curve, in its folder. */
export const CURVE_FILE = 'curve.jsonl';

/** A step in `curve.jsonl`. */
interface CurveStep {
  readonly step: number;
  readonly loss: number;
  readonly norm: number;
  readonly learningRate: number;
  readonly ms: number;
}

/** A validation in `curve.jsonl`. */
interface CurveValidation {
  readonly step: number;
  readonly measure: string;
  readonly value: number;
  /** Values that decide nothing, by column: further measures, `loss`, and those of further sets behind their name. */
  readonly others?: Readonly<Record<string, number>>;
}

export type CurvePoint = CurveStep | CurveValidation;

export const isValidation = (point: CurvePoint): point is CurveValidation => 'measure' in point;

/** Reads the points of a curve file, without a last line that a kill cut short. */
export async function readCurve(path: string): Promise<CurvePoint[]> {
  if (!existsSync(path)) return [];
  const points: CurvePoint[] = [];
  for (const line of (await readFile(path, 'utf8')).split('\n')) {
    try {
      if (line !== '') points.push(parseJson(line) as CurvePoint);
    } catch {
      break;
    }
  }
  return points;
}

/** Opens `curve.jsonl` for appending. Points after `fromStep`, from which the run continues, are removed: those steps run again. */
export async function openCurve(path: string, fromStep: number): Promise<(point: CurvePoint) => Promise<void>> {
  const kept = (await readCurve(path)).filter((point) => point.step <= fromStep);
  await writeFileAtomic(path, kept.map((point) => `${JSON.stringify(point)}\n`).join(''));
  return (point) => namingPath(path, appendFile(path, `${JSON.stringify(point)}\n`));
}

import { cpSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SHIPPED } from '../../bench/load/shipped.ts';
import { SATURATES } from './processor.ts';

export {
  MODELS,
  SHIPPED,
  SHIPPED_ENCODERS,
  SHIPPED_MODELS,
  SHIPPED_NAME,
  SHIPPED_NAMES,
  shippedFolder,
} from '../../bench/load/shipped.ts';

interface Calibrated {
  readonly calibration: { readonly map: { readonly slope: number; readonly intercept: number } };
}

const { calibration }: Calibrated = JSON.parse(readFileSync(join(SHIPPED, 'model.json'), 'utf8'));
const { slope, intercept } = calibration.map;

/** Returns the relevance score of a logit of the default model, by the two numbers of its calibration. */
export const shippedRelevance = (logit: number): number => 1 / (1 + Math.exp(-(slope * logit + intercept)));

/** Folder of a model with scores from another binding of the engine; not part of the checkout. */
export const REFERENCE_MODEL = join(
  process.env.WINNOW_SHARED ?? join(import.meta.dirname, '../../../shared'),
  'models/minilm-l6-reference',
);
export const REFERENCE_SCORES = join(REFERENCE_MODEL, 'reference-scores.json');
/** Its scores come from a processor that does not saturate, and its weights allow saturation. */
export const hasReference: boolean = existsSync(REFERENCE_SCORES) && !SATURATES;
export const REFERENCE_NEEDS = '(needs ../shared/models and a processor with VNNI)';

/** Makes a registry folder with that model as `reference@1`. The caller removes it. */
export function referenceRegistry(): string {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-reference-'));
  const version = join(folder, 'reference', '1');
  cpSync(REFERENCE_MODEL, version, { recursive: true });
  const manifest = { format: 1, maxLength: 192, truncation: 'longest_first', activation: 'sigmoid' };
  writeFileSync(join(version, 'model.json'), JSON.stringify(manifest));
  return folder;
}

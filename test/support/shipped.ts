import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SATURATES } from './processor.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The registry folder that comes with the checkout. */
export const MODELS = join(ROOT, 'models');

const folders = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .toSorted();

/** Every model that ships. */
export const SHIPPED_NAMES: readonly string[] = folders(MODELS);

const DEFAULT = join(MODELS, 'default.json');

/** The model a server answers with that nobody told otherwise. */
export const SHIPPED_NAME: string = existsSync(DEFAULT)
  ? (JSON.parse(readFileSync(DEFAULT, 'utf8')) as { readonly model: string }).model
  : SHIPPED_NAMES[0]!;

/** Folder of a shipped model's version. */
export const shippedFolder = (name: string): string => join(MODELS, name, folders(join(MODELS, name))[0]!);

/** Folder of the default's version. */
export const SHIPPED: string = shippedFolder(SHIPPED_NAME);

/** A model with scores from another binding of the engine; not part of the checkout. */
export const REFERENCE_MODEL = join(process.env.WINNOW_SHARED ?? join(ROOT, '../shared'), 'models/minilm-l6-reference');
export const REFERENCE_SCORES = join(REFERENCE_MODEL, 'reference-scores.json');
/** Its scores come from a processor that does not saturate, and its weights are not made for one that does. */
export const hasReference: boolean = existsSync(REFERENCE_SCORES) && !SATURATES;
export const REFERENCE_NEEDS = '(needs ../shared/models and a processor with VNNI)';

/** A registry folder of its own with that model as `reference@1`; whoever asks for it removes it. */
export function referenceRegistry(): string {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-reference-'));
  const version = join(folder, 'reference', '1');
  cpSync(REFERENCE_MODEL, version, { recursive: true });
  const manifest = { format: 1, maxLength: 192, truncation: 'longest_first', activation: 'sigmoid' };
  writeFileSync(join(version, 'model.json'), JSON.stringify(manifest));
  return folder;
}

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The registry folder that comes with the checkout. */
export const MODELS = join(import.meta.dirname, '../../models');

const folders = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .toSorted();

/** Names of all shipped models. */
export const SHIPPED_MODELS: readonly string[] = folders(MODELS);

/** Whether a shipped model reads query and passage apart. */
function isEncoder(name: string): boolean {
  const [version] = folders(join(MODELS, name));
  const manifest = JSON.parse(readFileSync(join(MODELS, name, version!, 'model.json'), 'utf8')) as { kind?: string };
  return manifest.kind === 'bi-encoder';
}

/** Names of the shipped bi-encoders. */
export const SHIPPED_ENCODERS: readonly string[] = SHIPPED_MODELS.filter(isEncoder);

/** Names of the shipped cross-encoders. */
export const SHIPPED_NAMES: readonly string[] = SHIPPED_MODELS.filter((name) => !isEncoder(name));

const DEFAULT = join(MODELS, 'default.json');

/** The model a server uses by default. */
export const SHIPPED_NAME: string = existsSync(DEFAULT)
  ? (JSON.parse(readFileSync(DEFAULT, 'utf8')) as { readonly model: string }).model
  : SHIPPED_NAMES[0]!;

/** Folder of a shipped model's version. */
export const shippedFolder = (name: string): string => join(MODELS, name, folders(join(MODELS, name))[0]!);

/** Folder of the default's version. */
export const SHIPPED: string = shippedFolder(SHIPPED_NAME);

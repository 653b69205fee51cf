import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** A model of the comparison. */
export interface System {
  /** Name in the registry of the benchmark. */
  readonly name: string;
  readonly folder: string;
  /** `kept`: what it makes of passages is kept. */
  readonly kind: 'kept' | 'float32' | 'int8';
  /** Interaction layers; 0 for a bi-encoder. */
  readonly top: number;
  /** Whether it is made of the bi-encoder in `folder`. */
  readonly isMade?: boolean;
}

const ROOT = join(import.meta.dirname, '../..');

function configOf(folder: string): { readonly interaction?: { readonly top?: number } } {
  const file = join(folder, 'config.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
}

/**
 * Parses `NAME=FOLDER,…`; a folder alone has its own name.
 * @param tops Interaction layers of further models that are made of each, comma-separated.
 */
export const keptSystems = (text: string, tops = ''): readonly System[] =>
  text
    .split(',')
    .filter(Boolean)
    .flatMap((one) => {
      const [name = '', folder = name] = one.split('=');
      if (!existsSync(folder)) throw new Error(`expected NAME=FOLDER of a model, got ${one}: there is no such folder`);
      const system = {
        name: basename(name),
        folder,
        kind: 'kept',
        top: configOf(folder).interaction?.top ?? 0,
      } as const;
      const made = tops.split(',').filter(Boolean).map(Number);
      return [system, ...made.map((top) => ({ ...system, name: `${system.name}-top-${top}`, top, isMade: true }))];
    });

/** Puts a model into a registry folder: a version is copied, another folder imported. @throws Error with what the import says. */
export function install({ name, folder, top, isMade }: System, registry: string): void {
  if (!isMade && existsSync(join(folder, 'model.json'))) {
    mkdirSync(join(registry, name), { recursive: true });
    cpSync(folder, join(registry, name, '1'), { recursive: true });
    return;
  }
  const winnow = join(ROOT, 'bin/winnow.mjs');
  const command = isMade ? ['interaction', '--top', String(top)] : ['import'];
  const args = [winnow, 'models', ...command, folder, name, '--models', registry];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${folder} was not imported: ${stderr.trim()}`);
}

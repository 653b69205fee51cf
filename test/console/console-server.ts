import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { SHIPPED } from '../support/shipped.ts';
import { DEFINITIONS, simulate } from './simulated.ts';

export const ADMIN = 'admin-key-of-the-test';
export const CLERK = 'rerank-key-of-the-test';

/** The answer is at the end of the last passage: a model that reads 16 tokens per pair does not see it. */
export const FLEAS = {
  query: 'how long does a flea live',
  passages: [
    'The committee will meet on Thursday to discuss the new tariff on copper imports.',
    'A flea can live up to a year, but its general lifespan depends on its living conditions.',
    'Fleas live on the blood of dogs and cats.',
    'Asked again this week by several readers of our pages: the life of a flea lasts from 20 days to an entire year.',
  ],
} as const;

export const CURVE =
  '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><path d="M0 0L40 20" stroke="#000"/></svg>';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

function writeKeys(file: string): void {
  const keys = [
    { name: 'boss', sha256: sha256(ADMIN), scopes: ['admin'] },
    { name: 'clerk', sha256: sha256(CLERK), scopes: ['rerank'] },
  ];
  writeFileSync(file, stringify({ keys }));
}

/** Model `m`: version 1 is the shipped one, 2 has the same weights with 16 tokens per pair and a curve, 3 has no tokenizer and is refused. */
function writeRegistry(folder: string): void {
  const shipped = SHIPPED;
  for (const version of ['1', '2']) cpSync(shipped, join(folder, 'm', version), { recursive: true });
  const manifest = { format: 1, maxLength: 16, truncation: 'only_second', activation: 'sigmoid', objective: 'listnet' };
  writeFileSync(join(folder, 'm/2/model.json'), JSON.stringify(manifest));
  writeFileSync(join(folder, 'm/2/curve.svg'), CURVE);
  mkdirSync(join(folder, 'm/3'));
  cpSync(join(shipped, 'config.json'), join(folder, 'm/3/config.json'));
  writeFileSync(join(folder, 'm/labels.json'), JSON.stringify({ stable: '1' }));
}

export interface ConsoleServer {
  readonly server: ServerProcess;
  clear(): Promise<void>;
}

/** Starts a real server with keys, models, and experiments with ten days of clicks. */
export async function startConsoleServer(users: number): Promise<ConsoleServer> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-console-'));
  const at = (name: string) => join(folder, name);
  writeKeys(at('keys.yaml'));
  writeRegistry(at('models'));
  writeFileSync(at('experiments.yaml'), stringify(DEFINITIONS));
  await simulate(at('log.sqlite'), { now: Date.now(), users });
  const experiments = ['--experiments', at('experiments.yaml'), '--experiments-database', at('log.sqlite')];
  const server = await startServerProcess({
    flags: ['--models', at('models'), '--auth-keys-file', at('keys.yaml'), ...experiments],
  });
  return {
    server,
    async clear() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

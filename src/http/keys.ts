import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { WinnowError } from '../errors.ts';
import { readYamlFile, yamlDocument } from '../util/yaml-file.ts';
import { faultOf } from './faults.ts';

const SCOPES = ['rerank', 'outcomes', 'admin'] as const;
/**
 * `rerank` allows scoring and reading, `outcomes` reporting outcomes; `admin` allows both, and loading, unloading, labels, experiments, forced
 * arms and negative priorities.
 */
export type Scope = (typeof SCOPES)[number];

export interface ApiKey {
  readonly name: string;
  /** sha256 of the key, 32 bytes. The key itself is not stored. */
  readonly hash: Buffer;
  readonly scopes: readonly Scope[];
}

/** The owner of a request's key. */
export interface Caller {
  readonly name: string;
  readonly scopes: readonly Scope[];
}

/** The caller where no keys are configured, on the machine of the service: everything is allowed. */
export const ANONYMOUS: Caller = { name: 'anonymous', scopes: SCOPES };

/** The caller where no keys are configured, on another machine. */
export const REMOTE: Caller = { name: ANONYMOUS.name, scopes: ['rerank', 'outcomes'] };

const keyFileSchema = z.strictObject({
  keys: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[\w.-]{1,64}$/, { error: 'a name of letters, digits, `.`, `_` and `-`' }),
        sha256: z.string().regex(/^[0-9a-fA-F]{64}$/, { error: '64 hex digits' }),
        scopes: z.array(z.enum(SCOPES)).min(1).default(['rerank']),
      }),
    )
    .min(1),
});

/** Returns the sha256 of a key. */
export function hashKey(key: string): Buffer {
  return createHash('sha256').update(key, 'utf8').digest();
}

function repeated(values: readonly string[]): string[] {
  return [...new Set(values.filter((value, i) => values.indexOf(value) !== i))];
}

function refuse(file: string, faults: readonly string[]): never {
  throw new WinnowError('invalid_config', {
    count: faults.length,
    faults: faults.map((fault) => `  - ${file}: ${fault}`).join('\n'),
  });
}

function readYaml(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    throw new WinnowError('invalid_config', { count: 1, faults: `  - ${(error as Error).message}` });
  }
}

/**
 * Reads the key file: `keys:` with `name`, `sha256` (of the key, hex) and `scopes`.
 * @throws WinnowError `invalid_config` with all faults of the file.
 */
export const loadKeys = (file: string): readonly ApiKey[] =>
  keysOf(
    readYaml(() => readYamlFile(file).document),
    file,
  );

/** Reads keys from the text of a key file. @throws as `loadKeys`. */
export const parseKeys = (text: string, file: string): readonly ApiKey[] =>
  keysOf(
    readYaml(() => yamlDocument(text, file)),
    file,
  );

function keysOf(tree: unknown, file: string): readonly ApiKey[] {
  const parsed = keyFileSchema.safeParse(tree);
  if (!parsed.success)
    refuse(
      file,
      parsed.error.issues.map((issue) => {
        const { expected, got, field } = faultOf(issue, tree);
        return `expected ${expected}, got ${got} (${field})`;
      }),
    );
  const { keys } = parsed.data;
  const faults = [
    ...repeated(keys.map((key) => key.name)).map((name) => `expected one key a name, got several (${name})`),
    ...repeated(keys.map((key) => key.sha256.toLowerCase())).map(
      (hash) => `expected every key once, got one twice (sha256 ${hash.slice(0, 12)}…)`,
    ),
  ];
  if (faults.length > 0) refuse(file, faults);
  return keys.map(({ name, sha256, scopes }) => ({ name, hash: Buffer.from(sha256, 'hex'), scopes }));
}

/** Finds the key with the given text. Compares with every key in constant time, so that the time reveals nothing. */
export function findKey(keys: readonly ApiKey[], text: string): ApiKey | undefined {
  const hash = hashKey(text);
  let found: ApiKey | undefined;
  for (const key of keys) if (timingSafeEqual(key.hash, hash)) found = key;
  return found;
}

/** Returns the refusal of a caller without a scope. */
export function scopeRefusal(caller: Caller | undefined, scope: string): WinnowError {
  if (caller === REMOTE) return new WinnowError('not_local', { scope, got: 'another address' });
  return new WinnowError('forbidden', { scope, got: caller?.scopes.join(', ') ?? 'none' });
}

/** Whether outcomes need scope `outcomes`: some key has it. Files from before the scope let keys with `rerank` report outcomes. */
export function separatesOutcomes(keys: readonly ApiKey[]): boolean {
  return keys.some(({ scopes }) => scopes.includes('outcomes'));
}

/** Whether a caller has a scope; `admin` includes all. */
export function mayUse(caller: Caller, scope: Scope): boolean {
  return caller.scopes.includes(scope) || caller.scopes.includes('admin');
}

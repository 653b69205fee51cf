import { type ReadResult, WatchedFile } from '../util/watched-file.ts';
import { YAML_BYTES } from '../util/yaml-file.ts';
import { type ApiKey, loadKeys, parseKeys } from './keys.ts';

/** Names of keys that a change of the file has added, removed or given another hash or other scopes. */
export interface KeyChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

interface KeyFileOptions {
  readonly path: string;
  /** Milliseconds between two looks at the file; 1000 if absent. */
  readonly pollMs?: number;
  readonly onChange: (change: KeyChange) => void;
  /** Called with why the file cannot be used: the keys in effect stay. */
  readonly onProblem: (reason: string) => void;
}

const shown = ({ hash, scopes }: ApiKey): string => `${hash.toString('hex')} ${scopes.join()}`;

function changeOf(before: readonly ApiKey[], after: readonly ApiKey[]): KeyChange | undefined {
  const old = new Map(before.map((key) => [key.name, shown(key)]));
  const names = new Set(after.map(({ name }) => name));
  const change = {
    added: after.filter(({ name }) => !old.has(name)).map(({ name }) => name),
    removed: before.filter(({ name }) => !names.has(name)).map(({ name }) => name),
    changed: after.filter((key) => old.has(key.name) && old.get(key.name) !== shown(key)).map(({ name }) => name),
  };
  return Object.values(change).some((list) => list.length > 0) ? change : undefined;
}

/** The file of API keys. Its changes take effect; a file that cannot be used leaves the keys in effect as they are. */
export class KeyFile {
  readonly #file: WatchedFile;
  #keys: readonly ApiKey[];

  /** @throws WinnowError `invalid_config` where the file cannot be used. */
  constructor({ path, pollMs = 1000, onChange, onProblem }: KeyFileOptions) {
    this.#keys = loadKeys(path);
    this.#file = new WatchedFile({
      path,
      pollMs,
      maxBytes: YAML_BYTES,
      onProblem,
      take: async (text) => {
        const keys = parseKeys(text, path);
        const change = changeOf(this.#keys, keys);
        this.#keys = keys;
        if (change) onChange(change);
      },
    });
  }

  /** The keys in effect; never empty. */
  get keys(): readonly ApiKey[] {
    return this.#keys;
  }

  /** Begins to watch the file. */
  async watch(): Promise<void> {
    await this.#file.start();
  }

  /** Reads the file now. Never rejects. */
  read(): Promise<ReadResult> {
    return this.#file.read();
  }

  close(): void {
    this.#file.stop();
  }
}

import { unwatchFile, watchFile } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { Mutex } from '../../util/mutex.ts';
import { readTextFile } from '../../util/text.ts';
import { YAML_BYTES } from '../../util/yaml-file.ts';
import { type Experiment, parseExperiments } from './definition.ts';

export interface FileState {
  readonly experiments: readonly Experiment[];
  /** For the audit: the file and its owner. */
  readonly who: string;
}

/**
 * Parses the text of a file of definitions. An empty file is no list of no experiments: it is what an interrupted copy leaves.
 * @throws WinnowError `invalid_experiments`.
 */
function parseFile(text: string, path: string): readonly Experiment[] {
  const file = basename(path);
  const expected = '`experiments: []` where none is to run';
  if (text.trim() === '')
    throw new WinnowError('invalid_experiments', { file, expected, got: 'an empty file', field: 'document' });
  return parseExperiments(text, file);
}

/** Checks a file of definitions before a start; a file that is not there yet is no fault. @throws what reading and parsing it throw. */
export async function checkDefinitionFile(path: string): Promise<void> {
  const isAbsent = await stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
  if (!isAbsent) parseFile(await readTextFile(path, YAML_BYTES), path);
}

interface DefinitionFileOptions {
  readonly path: string;
  readonly pollMs: number;
  readonly onChange: (state: FileState) => void;
  /** Called where the file cannot be read or is invalid: the definitions in effect stay. */
  readonly onProblem: (reason: string) => void;
}

/**
 * Watches experiments.yaml by polling it every `pollMs` milliseconds. This notices edits in place, atomic renames and the swapped links of
 * a Kubernetes ConfigMap, also on file systems that send no events.
 */
export class DefinitionFile {
  readonly #options: DefinitionFileOptions;
  #text: string | undefined;
  #problem: string | undefined;
  readonly #mutex = new Mutex();
  readonly #listener = () => void this.read();

  constructor(options: DefinitionFileOptions) {
    this.#options = options;
  }

  /** Reads the file and begins to watch it. Never rejects. */
  async start(): Promise<void> {
    const { path, pollMs } = this.#options;
    watchFile(path, { interval: pollMs, persistent: false }, this.#listener);
    await this.read();
  }

  /** Reads the file now. Never rejects. */
  read(): Promise<void> {
    return this.#mutex.run(() => this.#read());
  }

  stop(): void {
    unwatchFile(this.#options.path, this.#listener);
  }

  async #read(): Promise<void> {
    const { path, onChange, onProblem } = this.#options;
    try {
      const text = await readTextFile(path, YAML_BYTES);
      if (text === this.#text && this.#problem === undefined) return;
      const experiments = parseFile(text, path);
      const { uid } = await stat(path);
      this.#problem = undefined;
      if (text === this.#text) return;
      this.#text = text;
      onChange({ experiments, who: `${basename(path)} (uid ${uid})` });
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#problem) onProblem(message);
      this.#problem = message;
    }
  }
}

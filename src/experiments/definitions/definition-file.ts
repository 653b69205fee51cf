import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { readTextFile } from '../../util/text.ts';
import { type ReadResult, WatchedFile } from '../../util/watched-file.ts';
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

/**
 * Checks a file of definitions before a start; a file that is not there yet is no fault.
 * @returns How many experiments it defines.
 * @throws what reading and parsing it throw.
 */
export async function checkDefinitionFile(path: string): Promise<number> {
  const isAbsent = await stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
  return isAbsent ? 0 : parseFile(await readTextFile(path, YAML_BYTES), path).length;
}

interface DefinitionFileOptions {
  readonly path: string;
  readonly pollMs: number;
  readonly onChange: (state: FileState) => void;
  /** Called where the file cannot be read or is invalid: the definitions in effect stay. */
  readonly onProblem: (reason: string) => void;
}

/** experiments.yaml; its changes take effect, and an invalid file leaves the definitions in effect as they are. */
export class DefinitionFile {
  readonly #file: WatchedFile;

  constructor({ path, pollMs, onChange, onProblem }: DefinitionFileOptions) {
    this.#file = new WatchedFile({
      path,
      pollMs,
      maxBytes: YAML_BYTES,
      onProblem,
      async take(text) {
        const experiments = parseFile(text, path);
        const { uid } = await stat(path);
        onChange({ experiments, who: `${basename(path)} (uid ${uid})` });
      },
    });
  }

  /** Reads the file and begins to watch it. Never rejects. */
  async start(): Promise<void> {
    await this.#file.start();
  }

  /** Reads the file now. Never rejects. */
  read(): Promise<ReadResult> {
    return this.#file.read();
  }

  stop(): void {
    this.#file.stop();
  }
}

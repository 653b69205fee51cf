import { z } from 'zod';
import { parseJson } from '../util/parse-json.ts';
import type { KeptPassage } from './disk/packed.ts';
import type { PassageFile, PassageFileStats } from './passage-file.ts';
import type { PassageCache, PassageFilter, PassageKeys, PassageModel, PassageObserver } from './passage-types.ts';

const FIELDS = ['name', 'version', 'sha256', 'variant', 'provider', 'salt'] as const;

/** Returns the space of a model's entries in a file. */
const spaceOf = (model: PassageModel): string => JSON.stringify(FIELDS.map((field) => model[field]));

const SPACE = z.tuple([z.string(), z.string(), z.string(), z.string(), z.string(), z.string()]);

function parsedOrNull(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return null;
  }
}

/** Returns the model of a space; undefined for text that is none. */
function modelOf(space: string): PassageModel | undefined {
  const parsed = SPACE.safeParse(parsedOrNull(space));
  if (!parsed.success) return undefined;
  const [name, version, sha256, variant, provider, salt] = parsed.data;
  return { name, version, sha256, variant, provider, salt };
}

const fits = (model: PassageModel, filter: PassageFilter): boolean =>
  FIELDS.every((field) => filter[field] === undefined || filter[field] === model[field]);

const bytesOf = ({ buffer, byteOffset, byteLength }: PassageKeys): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Keeps what is in a passage cache in a file as well, and brings it back when a model is loaded. */
export class PassageDisk {
  readonly #file: PassageFile;
  /** What the cache reports to. */
  readonly observer: Required<Pick<PassageObserver, 'onInsert' | 'onEvict'>>;

  constructor(file: PassageFile) {
    this.#file = file;
    this.observer = {
      onInsert: ({ model, key, tokens, value }) =>
        file.put({ key: bytesOf(key), space: spaceOf(model), tokens, value }),
      onEvict: (key) => file.forget(bytesOf(key)),
    };
  }

  /**
   * Brings the entries of a version back into memory, and drops those of other files that had its name: its entries have other keys. Never
   * rejects.
   * @returns how many are in memory now.
   */
  async load(cache: PassageCache, version: Omit<PassageModel, 'salt'>): Promise<number> {
    const { name, version: number, ...file } = version;
    const spaces = await this.#spaces({ name, version: number });
    const own = spaces.filter(({ model }) => fits(model, file));
    const others = spaces.filter((space) => !own.includes(space)).map(({ space }) => space);
    if (others.length > 0) await this.#file.drop(others).catch(() => undefined);
    const models = new Map(own.map(({ space, model }) => [space, model]));
    let loaded = 0;
    await this.#file.load([...models.keys()], (passages) => {
      for (const passage of passages) if (put(cache, models.get(passage.space), passage)) loaded++;
    });
    return loaded;
  }

  /** Removes the entries of versions that are not known any more. Never rejects. */
  async dropUnknown(isKnown: (model: PassageModel) => boolean): Promise<void> {
    await this.#file.flush();
    const gone = this.#file.spaces.filter((space) => {
      const model = modelOf(space);
      return model === undefined || !isKnown(model);
    });
    if (gone.length > 0) await this.#file.drop(gone).catch(() => undefined);
  }

  /** Removes entries for good. @throws FileError where the disk fails. */
  async clear(filter: PassageFilter): Promise<void> {
    const isAll = Object.values(filter).every((value) => value === undefined);
    await this.#file.drop(isAll ? undefined : (await this.#spaces(filter)).map(({ space }) => space));
  }

  stats(): PassageFileStats {
    return this.#file.stats();
  }

  /** Writes what waits and closes the file. Never rejects. */
  close(): Promise<void> {
    return this.#file.close();
  }

  /** Returns the spaces of models, those of entries that wait to be written included. */
  async #spaces(filter: PassageFilter): Promise<readonly { readonly space: string; readonly model: PassageModel }[]> {
    await this.#file.flush();
    return this.#file.spaces.flatMap((space) => {
      const model = modelOf(space);
      return model && fits(model, filter) ? [{ space, model }] : [];
    });
  }
}

function put(cache: PassageCache, model: PassageModel | undefined, { key, tokens, value }: KeptPassage): boolean {
  if (!model) return false;
  // Keys stand one after the other, so that they may start between two words.
  const words = new Uint32Array(key.slice().buffer);
  return cache.load({ model, key: words, tokens, value });
}

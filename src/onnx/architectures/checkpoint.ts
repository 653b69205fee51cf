import { existsSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { readJsonFile } from '../../util/json-files.ts';
import { shardIndex, WEIGHT_FILES, WHOLE_WEIGHTS } from '../../util/weight-files.ts';
import { isFloat } from '../dtypes.ts';
import { openSafetensors } from '../safetensors.ts';
import { deferred, float32, float32View, type Tensor } from '../tensor.ts';
import { openTorchFile } from '../torch-file.ts';
import { Settings } from './settings.ts';

type Weights = Map<string, Tensor>;

/** Token ids of the two answers between which a language model decides. */
export interface Answers {
  readonly yes: number;
  /** Undefined: the score is the logit of `yes`. */
  readonly no?: number | undefined;
}

/** What other files of a folder say about its graph. */
export interface CheckpointUse {
  /** Whether a classification head is left out, because modules follow the encoder. */
  readonly isHeadless?: boolean;
  /** Whether every token has type 0, because the tokenizer gives no `token_type_ids`. */
  readonly isUntyped?: boolean;
  /** Of a language model: the answers whose logits' difference is the score. Without them it is a bare decoder. */
  readonly answers?: Answers | undefined;
}

/** Config and weights of a folder in Hugging Face layout. Every tensor is checked against the shape that config.json implies. */
export class Checkpoint {
  readonly folder: string;
  readonly settings: Settings;
  readonly use: CheckpointUse;
  readonly #names: ReadonlySet<string>;
  /** Tensors that were not taken yet. */
  readonly #left: Weights;

  /** @param weights Not copied: a tensor is deleted from it when it is taken. */
  constructor(folder: string, settings: Settings, weights: Weights, use: CheckpointUse = {}) {
    this.folder = folder;
    this.settings = settings;
    this.use = use;
    this.#names = new Set(weights.keys());
    this.#left = weights;
  }

  /** Whether a classification head is left out: modules follow the encoder, or the head is for tokens and may have the same names. */
  get isHeadless(): boolean {
    return this.use.isHeadless === true || this.settings.saysTokenHead();
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Whether a tensor has a name that starts so. */
  hasAny(start: string): boolean {
    return [...this.#names].some((name) => name.startsWith(start));
  }

  /** Returns the number of axes of a tensor that was not taken yet; undefined without it. */
  rank(name: string): number | undefined {
    return this.#left.get(name)?.dims.length;
  }

  /** Returns the first size of a tensor that was not taken yet; undefined without it. */
  rows(name: string): number | undefined {
    return this.#left.get(name)?.dims[0];
  }

  /**
   * Returns a tensor as float32, which is read when its bytes are, and deletes it from the weights: each is taken once.
   * @param dims Sizes that follow from config.json; `undefined` where any size will do.
   * @throws WinnowError `invalid_input` for a tensor that is missing, of another shape or not of floats.
   */
  take(name: string, dims: readonly (number | undefined)[]): Tensor {
    const found = this.#left.get(name);
    if (!found) throw this.#fault(`a tensor ${name}`, `${this.#names.size} tensors without it`);
    const fits = found.dims.length === dims.length && dims.every((d, i) => d === undefined || d === found.dims[i]);
    if (!fits || !isFloat(found.dtype)) {
      const shape = dims.map((d) => d ?? 'any').join(', ');
      throw this.#fault(
        `floats of shape [${shape}] as config.json says in tensor ${name}`,
        `${found.dtype} of [${found.dims.join(', ')}]`,
      );
    }
    this.#left.delete(name);
    return found.dtype === 'float32'
      ? found
      : deferred('float32', found.dims, () => float32(found.dims, float32View(found)).bytes);
  }

  /** Deletes a tensor that the reference implementation does not use either; nothing happens where there is none. */
  leaveOut(name: string): void {
    this.#left.delete(name);
  }

  /** Names of the tensors that were not taken, such as those of other heads; numbers that follow from the configuration do not count. */
  leftOver(): readonly string[] {
    return [...this.#left.keys()].filter((name) => !BUFFERS.test(name));
  }

  /**
   * Refuses tensors of the encoder that the graph does not use: layers beyond those of config.json, biases that it rules out.
   * Others, such as the head of a language model, are left out.
   * @param body Beginnings of names that belong to the encoder.
   */
  checkUnused(body: readonly string[]): void {
    const isOurs = (name: string) => body.some((start) => name.startsWith(start)) && !BUFFERS.test(name);
    const [first, ...more] = [...this.#left.keys()].filter(isOurs);
    if (first !== undefined)
      throw this.#fault('only tensors of the model that config.json describes', `${first} and ${more.length} more`);
  }

  #fault(expected: string, got: string): WinnowError {
    return new WinnowError('invalid_input', { where: this.folder, expected, got });
  }
}

/** Numbers that follow from the configuration; older checkpoints hold them. */
const BUFFERS = /(^|\.)(position_ids|token_type_ids|inv_freq)$/;

/**
 * Reads the config.json of a folder.
 * @throws WinnowError `invalid_input`.
 */
export async function readSettings(folder: string): Promise<Settings> {
  const file = join(folder, 'config.json');
  return new Settings(file, await readJsonFile(file));
}

/** A way of holding weights: one file, or shards that an index lists. */
interface Layout {
  /** A file in the folder of the index: no path. */
  readonly shard: RegExp;
  readonly read: (path: string) => Promise<Weights>;
}

type Whole = (typeof WHOLE_WEIGHTS)[number];

const LAYOUTS: Readonly<Record<Whole, Layout>> = {
  'model.safetensors': {
    shard: /^\w[\w.-]*\.safetensors$/,
    read: openSafetensors,
  },
  'pytorch_model.bin': { shard: /^\w[\w.-]*\.bin$/, read: openTorchFile },
};

/** Of peft: transformers adds the adapter of such a file to the weights beside it. */
const ADAPTER = 'adapter_config.json';

/** Where the beginning of a file is text: what stands there instead of the file. */
const STAND_INS: readonly (readonly [RegExp, string])[] = [
  [/^version https:\/\/git-lfs/, 'a pointer of Git LFS (run `git lfs pull`)'],
  [/^\s*<(!doctype|html)/i, 'a web page'],
];

/** Reads a file of weights. @throws WinnowError `invalid_graph` for what downloads leave in its place, too. */
async function readOne(path: string, whole: Whole): Promise<Weights> {
  const start = new TextDecoder().decode(await readStart(path));
  const found = STAND_INS.find(([pattern]) => pattern.test(start));
  if (found) throw new WinnowError('invalid_graph', { where: path, expected: 'weights', got: found[1] });
  return LAYOUTS[whole].read(path);
}

/** Reads the first bytes of a file. */
async function readStart(path: string): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const bytes = new Uint8Array(64);
    const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Reads `model.safetensors`, else the shards of its index, else `pytorch_model.bin`, else the shards of its index.
 * @throws WinnowError `invalid_input` for files that are missing or an index that does not match its shards; `invalid_graph` for files of
 * other formats and those that hold more than tensors.
 */
export async function readWeights(folder: string): Promise<Weights> {
  if (existsSync(join(folder, ADAPTER)))
    throw new WinnowError('invalid_input', {
      where: join(folder, ADAPTER),
      expected: 'weights with the adapter merged into them (merge_and_unload of peft)',
      got: 'an adapter beside the weights',
    });
  for (const whole of WHOLE_WEIGHTS) {
    const path = join(folder, whole);
    if (existsSync(path)) return readOne(path, whole);
    if (existsSync(shardIndex(path))) return readShards(folder, whole);
  }
  throw new WinnowError('invalid_input', {
    where: folder,
    expected: `one of ${WEIGHT_FILES.join(', ')}`,
    got: (await readdir(folder)).join(', ').slice(0, 200) || 'an empty folder',
  });
}

/** Reads an index: tensor name → shard. */
async function readIndex(file: string, whole: Whole): Promise<ReadonlyMap<string, string>> {
  const index = new Settings(file, await readJsonFile(file));
  const listed = new Settings(`${file}: weight_map`, index.get('weight_map'));
  const map = new Map<string, string>();
  for (const name of listed.fields()) {
    const shard = listed.get(name);
    if (typeof shard !== 'string' || !LAYOUTS[whole].shard.test(shard))
      throw listed.fault(
        name,
        `a ${extname(whole)} file beside the index`,
        JSON.stringify(shard ?? null).slice(0, 120),
      );
    map.set(name, shard);
  }
  return map;
}

async function readShards(folder: string, whole: Whole): Promise<Weights> {
  const file = shardIndex(whole);
  const index = await readIndex(join(folder, file), whole);
  const all: Weights = new Map();
  for (const shard of new Set(index.values())) {
    const path = join(folder, shard);
    if (!existsSync(path))
      throw new WinnowError('invalid_input', {
        where: path,
        expected: `a shard that ${file} lists`,
        got: 'no such file',
      });
    for (const [name, value] of await readOne(path, whole)) {
      if (index.get(name) !== shard)
        throw new WinnowError('invalid_input', {
          where: path,
          expected: `only tensors that ${file} places there`,
          got: name,
        });
      all.set(name, value);
    }
  }
  for (const [name, shard] of index)
    if (!all.has(name))
      throw new WinnowError('invalid_input', {
        where: join(folder, shard),
        expected: `a tensor ${name}, which ${file} places there`,
        got: 'none',
      });
  return all;
}

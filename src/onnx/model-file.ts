import { statSync } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { dirname, isAbsolute, normalize, resolve, sep } from 'node:path';
import { WinnowError } from '../errors.ts';
import { replaceAtomic } from '../util/files.ts';
import type { Model } from './graph.ts';
import { decodeModel, type External } from './protobuf.ts';
import { type Placement, piecesOf } from './protobuf-write.ts';
import { CHUNK, readStored } from './stored.ts';
import { byteLength, type Tensor } from './tensor.ts';

/** Most bytes of initializers inside a model file, in bytes; protobuf holds at most 2 GiB. */
export const INSIDE_LIMIT = 1_500_000_000;
/** Page size, for readers that map the file into memory. */
const ALIGNMENT = 4096;

/**
 * Reads a model file and its external data, each tensor into a buffer of its own.
 * @throws WinnowError `invalid_graph` if the file is not a model; `unsafe_path` if external data lies outside the file's folder.
 */
export async function readModel(path: string): Promise<Model> {
  return decodeModel(await readFile(path), path, externalIn(path));
}

function externalIn(path: string): External {
  const folder = dirname(resolve(path));
  return ({ location, offset, length }) => {
    const file = resolve(folder, normalize(location));
    if (isAbsolute(location) || !file.startsWith(folder + sep))
      throw new WinnowError('unsafe_path', { file: path, got: location });
    return readSlice(path, file, offset, length);
  };
}

function readSlice(model: string, file: string, offset: number, length: number | undefined): Uint8Array<ArrayBuffer> {
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined || offset + (length ?? 0) > size) {
    const got = size === undefined ? 'no such file' : `a file of ${size}`;
    throw new WinnowError('invalid_graph', {
      where: `${model}: external data ${file}`,
      expected: `${offset + (length ?? 0)} bytes`,
      got,
    });
  }
  return readStored(file, offset, length ?? size - offset);
}

export const initializerBytes = (model: Model): number =>
  [...model.graph.initializers.values()].reduce((sum, t) => sum + byteLength(t), 0);

export interface WriteOptions {
  /** Name of the file beside the model that holds external initializers, if there are any; default `<file>.data`. */
  readonly dataFile?: string;
  /** Bytes of all initializers above which the large ones become external; default 1.5 GB. */
  readonly insideLimit?: number;
  /** Which initializers become external whatever the total; default none. */
  readonly outside?: (name: string, value: Tensor) => boolean;
}

/** Writes external data and model file, in this order, each atomically. Returns the paths written. */
export async function writeModel(path: string, model: Model, options: WriteOptions = {}): Promise<readonly string[]> {
  const { place, files } = await writeData(path, model, options);
  await writeGraph(path, model, place);
  return [...files, path];
}

/**
 * Writes external data alone, atomically.
 * @param path of the model file that will read it.
 * @returns where the external initializers are, and the paths written.
 */
export async function writeData(
  path: string,
  model: Model,
  options: WriteOptions,
): Promise<{ readonly place: Placement; readonly files: readonly string[] }> {
  const tooBig = initializerBytes(model) > (options.insideLimit ?? INSIDE_LIMIT);
  const outside = options.outside ?? ((_: string, t: Tensor) => tooBig && byteLength(t) > 1024);
  const location = options.dataFile ?? `${path.split(sep).at(-1)}.data`;
  const placed = new Map<string, { location: string; offset: number; length: number }>();
  let end = 0;
  for (const [name, value] of model.graph.initializers) {
    if (!outside(name, value)) continue;
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    placed.set(name, { location, offset, length: byteLength(value) });
    end = offset + byteLength(value);
  }
  const place: Placement = (name) => placed.get(name);
  if (placed.size === 0) return { place, files: [] };
  const file = resolve(dirname(path), location);
  await writeFileOf(file, async (write) => {
    for (const [name, { offset }] of placed) await write(model.graph.initializers.get(name)!.bytes, offset);
  });
  return { place, files: [file] };
}

/** Writes a model file atomically, without the initializers that are elsewhere. */
export async function writeGraph(path: string, model: Model, place: Placement): Promise<void> {
  await writeFileOf(path, async (write) => {
    let at = 0;
    for (const piece of piecesOf(model, place)) {
      const bytes = 'dtype' in piece ? piece.bytes : piece;
      await write(bytes, at);
      at += bytes.byteLength;
    }
  });
}

type Write = (bytes: Uint8Array, at: number) => Promise<void>;

const writerOf =
  (handle: FileHandle): Write =>
  async (bytes, at) => {
    for (let done = 0; done < bytes.byteLength; )
      done += (await handle.write(bytes, done, Math.min(bytes.byteLength - done, CHUNK), at + done)).bytesWritten;
  };

/** Writes a file atomically in parts, so that no buffer holds all of it. */
async function writeFileOf(file: string, fill: (write: Write) => Promise<void>): Promise<void> {
  await replaceAtomic(file, async (temporary) => {
    const handle = await open(temporary, 'wx');
    try {
      await fill(writerOf(handle));
    } finally {
      await handle.close();
    }
  });
}

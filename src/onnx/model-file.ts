import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { dirname, isAbsolute, normalize, resolve, sep } from 'node:path';
import { WinnowError } from '../errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import type { Model } from './graph.ts';
import { decodeModel, type External, encodeModel, type Placement } from './protobuf.ts';
import type { Tensor } from './tensor.ts';

/** Protobuf cannot hold more than 2 GiB; past this an initializer's bytes go to a file of their own. */
export const INSIDE_LIMIT = 1_500_000_000;
/** What mapping a file into memory likes. */
const ALIGNMENT = 4096;

/**
 * Reads a model file and the external data it points to (each tensor into memory of its own, so that no buffer holds them all).
 * @throws WinnowError `invalid_graph` if it is no model; `unsafe_path` if external data lies outside the file's folder.
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
  const wanted = length ?? size - offset;
  const into = new Uint8Array(wanted);
  const fd = openSync(file, 'r');
  try {
    for (let done = 0; done < wanted; ) {
      const got = readSync(fd, into, done, Math.min(wanted - done, 1 << 30), offset + done);
      if (got === 0)
        throw new WinnowError('invalid_graph', { where: file, expected: `${wanted} bytes`, got: `${done}` });
      done += got;
    }
  } finally {
    closeSync(fd);
  }
  return into;
}

export const initializerBytes = (model: Model): number =>
  [...model.graph.initializers.values()].reduce((sum, t) => sum + t.bytes.byteLength, 0);

export interface WriteOptions {
  /** Name (beside the model file) of the file that takes initializers out; default `<file>.data`, used only when one has to go out. */
  readonly dataFile?: string;
  /** Bytes of initializers past which the big ones go out; default 1.5 GB. */
  readonly insideLimit?: number;
  /** Which initializers go out whatever the size; default none. */
  readonly outside?: (name: string, value: Tensor) => boolean;
}

/** Writes model file and external data, each atomically, the data first. Returns the paths written. */
export async function writeModel(path: string, model: Model, options: WriteOptions = {}): Promise<readonly string[]> {
  const tooBig = initializerBytes(model) > (options.insideLimit ?? INSIDE_LIMIT);
  const outside = options.outside ?? ((_: string, t: Tensor) => tooBig && t.bytes.byteLength > 1024);
  const location = options.dataFile ?? `${path.split(sep).at(-1)}.data`;
  const placed = new Map<string, { location: string; offset: number; length: number }>();
  let end = 0;
  for (const [name, value] of model.graph.initializers) {
    if (!outside(name, value)) continue;
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    placed.set(name, { location, offset, length: value.bytes.byteLength });
    end = offset + value.bytes.byteLength;
  }
  const written: string[] = [];
  if (placed.size > 0) {
    const file = resolve(dirname(path), location);
    await writeSlices(
      file,
      [...placed].map(([name, at]) => ({ offset: at.offset, bytes: model.graph.initializers.get(name)!.bytes })),
    );
    written.push(file);
  }
  const place: Placement = (name) => placed.get(name);
  await writeFileAtomic(path, encodeModel(model, place));
  return [...written, path];
}

/** One slice after the other, so that the whole never lies in one buffer. */
async function writeSlices(file: string, slices: readonly { offset: number; bytes: Uint8Array }[]): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = await open(temporary, 'w');
  try {
    for (const { offset, bytes } of slices)
      for (let done = 0; done < bytes.byteLength; )
        done += (await handle.write(bytes, done, Math.min(bytes.byteLength - done, 1 << 30), offset + done))
          .bytesWritten;
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

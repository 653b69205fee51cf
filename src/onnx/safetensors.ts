import { type FileHandle, open } from 'node:fs/promises';
import { WinnowError } from '../errors.ts';
import { replaceAtomic } from '../util/files.ts';
import { isObject, type JsonObject } from '../util/json-files.ts';
import { parseJson } from '../util/parse-json.ts';
import { DATA_TYPES, type DataType } from './dtypes.ts';
import { CHUNK, readExactly, readStored } from './stored.ts';
import { byteLength, deferred, isCount, sizeOf, type Tensor } from './tensor.ts';

/*
 * The safetensors container (huggingface/safetensors, format section): 8 bytes of header length, a JSON header, then the tensors' bytes.
 * Tensors are read and written one by one, so that no buffer holds the whole file.
 */

const SPELLINGS: Readonly<Record<DataType, string>> = {
  float32: 'F32',
  float64: 'F64',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint64: 'U64',
  uint32: 'U32',
  uint16: 'U16',
  uint8: 'U8',
  bool: 'BOOL',
};
const BY_SPELLING = new Map(Object.entries(SPELLINGS).map(([dtype, spelling]) => [spelling, dtype as DataType]));

/** Bytes of the longest header; the bound of the reference implementation. */
const HEADER_LIMIT = 100_000_000;

interface Safetensors {
  /** The caller's own: nothing else holds it. */
  readonly tensors: Map<string, Tensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** @param room Bytes of the file behind the header. */
function checkEntry(
  path: string,
  name: string,
  value: unknown,
  room: number,
): { readonly dtype: DataType; readonly entry: Entry } {
  const entry = value as Entry;
  const dtype = BY_SPELLING.get(entry?.dtype);
  const [from, to] = Array.isArray(entry?.data_offsets) ? entry.data_offsets : [Number.NaN, Number.NaN];
  const whole = Array.isArray(entry?.shape) && entry.shape.every(isCount) && isCount(from) && isCount(to);
  if (!dtype || !whole || to - from !== sizeOf(entry.shape) * DATA_TYPES[dtype].bytes)
    throw new WinnowError('invalid_graph', {
      where: `${path}: tensor ${name}`,
      expected: 'dtype, shape and offsets that fit',
      got: (JSON.stringify(value) ?? 'nothing').slice(0, 120),
    });
  if (to > room)
    throw new WinnowError('invalid_graph', {
      where: `${path}: tensor ${name}`,
      expected: `${to} bytes behind the header`,
      got: `a file with ${room}`,
    });
  return { dtype, entry };
}

interface Header {
  readonly entries: JsonObject;
  /** Where the tensors begin. */
  readonly start: number;
  /** Bytes of the file from there on. */
  readonly room: number;
}

async function readHeader(file: FileHandle, path: string): Promise<Header> {
  const { size } = await file.stat();
  const length = Number(new DataView((await readExactly(file, path, 0, 8)).buffer).getBigUint64(0, true));
  if (length > HEADER_LIMIT || 8 + length > size)
    throw new WinnowError('invalid_graph', {
      where: path,
      expected: 'a safetensors header',
      got: `a length of ${length} in a file of ${size} bytes`,
    });
  const text = new TextDecoder().decode(await readExactly(file, path, 8, length));
  const entries = jsonObject(text);
  if (entries) return { entries, start: 8 + length, room: size - 8 - length };
  throw new WinnowError('invalid_graph', { where: path, expected: 'a JSON header', got: `"${text.slice(0, 40)}"` });
}

function jsonObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = parseJson(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A tensor and its place in the file. */
interface Place {
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly at: number;
  readonly length: number;
}

/** Checks the header's tensors, one by one and against each other. */
function placesOf(path: string, { entries, start, room }: Header): readonly Place[] {
  const places = Object.entries(entries)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, value]): Place => {
      const { dtype, entry } = checkEntry(path, name, value, room);
      const [from, to] = entry.data_offsets;
      return { name, dtype, dims: entry.shape, at: start + from, length: to - from };
    });
  // Tensors that share bytes would make a large model of a small file.
  const inOrder = places.filter(({ length }) => length > 0).toSorted((a, b) => a.at - b.at);
  for (const [i, { name, at }] of inOrder.entries()) {
    const before = inOrder[i - 1];
    if (before && before.at + before.length > at)
      throw new WinnowError('invalid_graph', {
        where: `${path}: tensor ${name}`,
        expected: 'bytes of its own',
        got: `bytes of ${before.name}`,
      });
  }
  return places;
}

/** Reads a file, or those of its tensors that are `wanted`. @throws WinnowError `invalid_graph` for truncated or other files. */
export async function readSafetensors(
  path: string,
  wanted: (name: string) => boolean = () => true,
): Promise<Safetensors> {
  const file = await open(path, 'r');
  try {
    const header = await readHeader(file, path);
    const tensors = new Map<string, Tensor>();
    for (const { name, dtype, dims, at, length } of placesOf(path, header))
      if (wanted(name)) tensors.set(name, { dtype, dims: [...dims], bytes: await readExactly(file, path, at, length) });
    return { tensors, metadata: (header.entries.__metadata__ ?? {}) as Record<string, string> };
  } finally {
    await file.close();
  }
}

/**
 * Opens a file: each tensor is read when its bytes are, and is not kept.
 * @throws WinnowError `invalid_graph` for truncated or other files.
 */
export async function openSafetensors(path: string): Promise<Map<string, Tensor>> {
  const file = await open(path, 'r');
  try {
    const places = placesOf(path, await readHeader(file, path));
    return new Map(
      places.map(({ name, dtype, dims, at, length }) => [
        name,
        deferred(dtype, dims, () => readStored(path, at, length)),
      ]),
    );
  } finally {
    await file.close();
  }
}

function headerOf(tensors: ReadonlyMap<string, Tensor>, metadata: Readonly<Record<string, string>>): Buffer {
  let end = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const [name, tensor] of tensors) {
    const from = end;
    end += byteLength(tensor);
    header[name] = { dtype: SPELLINGS[tensor.dtype], shape: tensor.dims, data_offsets: [from, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  // Spaces up to a multiple of 8 keep the tensors aligned.
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
  text.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength; )
    done += (await file.write(bytes, done, Math.min(bytes.byteLength - done, CHUNK))).bytesWritten;
}

/** Writes a file atomically: a reader sees the old file or the new one. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await replaceAtomic(path, async (temporary) => {
    const file = await open(temporary, 'wx');
    try {
      await writeAll(file, headerOf(tensors, metadata));
      for (const { bytes } of tensors.values()) await writeAll(file, bytes);
    } finally {
      await file.close();
    }
  });
}

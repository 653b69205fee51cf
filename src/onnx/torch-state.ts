import type { WinnowError } from '../errors.ts';
import { DATA_TYPES, type DataType } from './dtypes.ts';
import { Global, Made, type Meaning, type Pickled, refusePickle, Tuple } from './pickle.ts';
import { readStored } from './stored.ts';
import { deferred, isCount, sizeOf, type Tensor } from './tensor.ts';

/*
 * What the pickle of a dictionary of tensors may name, and what those names make: parts of storages.
 */

const STORAGES: ReadonlyMap<string, DataType> = new Map([
  ['torch.FloatStorage', 'float32'],
  ['torch.HalfStorage', 'float16'],
  ['torch.BFloat16Storage', 'bfloat16'],
  ['torch.DoubleStorage', 'float64'],
  ['torch.LongStorage', 'int64'],
  ['torch.IntStorage', 'int32'],
  ['torch.ShortStorage', 'int16'],
  ['torch.CharStorage', 'int8'],
  ['torch.ByteStorage', 'uint8'],
  ['torch.BoolStorage', 'bool'],
]);

const MAX_RANK = 8;

class Storage extends Made {
  readonly kind = 'storage';
  readonly dtype: DataType;
  readonly key: string;
  /** Elements. */
  readonly length: number;

  constructor(dtype: DataType, key: string, length: number) {
    super();
    this.dtype = dtype;
    this.key = key;
    this.length = length;
  }
}

/** A tensor: a part of a storage. Offset and strides count elements. */
export class Part extends Made {
  readonly kind = 'tensor';
  readonly storage: Storage;
  readonly offset: number;
  readonly dims: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: Storage, offset: number, dims: readonly number[], strides: readonly number[]) {
    super();
    this.storage = storage;
    this.offset = offset;
    this.dims = dims;
    this.strides = strides;
  }
}

/** Returns sizes or strides; undefined for other values. */
function counts(value: Pickled | undefined): readonly number[] | undefined {
  if (!(value instanceof Tuple) || value.items.length > MAX_RANK || !value.items.every(isCount)) return undefined;
  return value.items.filter(isCount);
}

/** Makes a tensor of the arguments of `torch._utils._rebuild_tensor_v2`. */
function rebuild(args: Tuple, fault: (expected: string, got: string) => WinnowError): Part {
  const [storage, offset, size, stride] = args.items;
  const [dims, strides] = [counts(size), counts(stride)];
  if (!(storage instanceof Storage) || !isCount(offset) || !dims || dims.length !== strides?.length)
    throw fault('a tensor of a storage, an offset, sizes and strides', 'others');
  const last = dims.includes(0) ? -1 : dims.reduce((at, d, i) => at + (d - 1) * strides[i]!, 0);
  if (offset + last >= storage.length && last >= 0)
    throw fault(`a tensor within its storage of ${storage.length}`, `[${dims.join(', ')}] from ${offset}`);
  // Without it, strides of 0 would make terabytes of one number.
  if (sizeOf(dims) > storage.length) throw fault('a tensor no larger than its storage', `[${dims.join(', ')}]`);
  return new Part(storage, offset, dims, strides);
}

/** Gives the names of tensors a meaning, and refuses all others. @param path Path for errors. */
export function meaningOf(path: string): Meaning {
  const fault = (expected: string, got: string): WinnowError => refusePickle(path, expected, got);
  const calls: ReadonlyMap<string, (args: Tuple) => Pickled> = new Map<string, (args: Tuple) => Pickled>([
    ['collections.OrderedDict', ({ items }) => emptyDictionary(items, fault)],
    ['torch._utils._rebuild_tensor_v2', (args) => rebuild(args, fault)],
    ['torch._utils._rebuild_parameter', ({ items }) => onlyPart(items[0], fault)],
  ]);
  return {
    path,
    find: (name) => {
      if (calls.has(name) || STORAGES.has(name)) return new Global(name);
      throw fault('tensors only', `a pickle that names ${name}; it was not run`);
    },
    call: ({ name }, args) => {
      const call = calls.get(name);
      if (!call) throw fault('calls that make tensors', `a call of ${name}`);
      return call(args);
    },
    persistent: (id) => {
      const [word, type, key, , length, view] = id instanceof Tuple ? id.items : [];
      const dtype = type instanceof Global ? STORAGES.get(type.name) : undefined;
      if (word !== 'storage' || !dtype || typeof key !== 'string' || !isCount(length) || (view ?? null) !== null)
        throw fault('a storage with type, key and length', 'another persistent id');
      return new Storage(dtype, key, length);
    },
  };
}

function emptyDictionary(items: readonly Pickled[], fault: (expected: string, got: string) => WinnowError): Pickled {
  if (items.length > 0) throw fault('an OrderedDict without arguments', `${items.length} arguments`);
  return new Map();
}

function onlyPart(value: Pickled | undefined, fault: (expected: string, got: string) => WinnowError): Part {
  if (value instanceof Part) return value;
  throw fault('a parameter of a tensor', 'another');
}

/** Returns the tensors of a pickle by name. */
export function partsOf(path: string, value: Pickled): ReadonlyMap<string, Part> {
  if (!(value instanceof Map)) throw refusePickle(path, 'a dictionary of tensors', 'another object');
  const parts = new Map<string, Part>();
  for (const [name, part] of value) {
    if (typeof name !== 'string' || !(part instanceof Part))
      throw refusePickle(path, 'a dictionary of tensors', `${String(name)} of another kind`);
    parts.set(name, part);
  }
  return parts;
}

const contiguous = (dims: readonly number[]): readonly number[] => dims.map((_, i) => sizeOf(dims.slice(i + 1)));

/**
 * Returns the tensor of a storage whose bytes begin at `start` in the file. It is read when its bytes are, and is not kept; numbers in
 * another order than row-major are put in order then.
 */
export function tensorAt(path: string, start: number, { storage, offset, dims, strides }: Part): Tensor {
  const { dtype } = storage;
  const width = DATA_TYPES[dtype].bytes;
  const plain = contiguous(dims);
  const total = sizeOf(dims);
  if (dims.every((d, i) => d <= 1 || strides[i] === plain[i]))
    return deferred(dtype, dims, () => readStored(path, start + offset * width, total * width));
  return deferred(dtype, dims, () => {
    const bytes = readStored(path, start, storage.length * width);
    const out = new Uint8Array(total * width);
    for (let i = 0; i < total; i++) {
      const from = dims.reduce((at, d, k) => at + (Math.trunc(i / plain[k]!) % d) * strides[k]!, offset);
      out.set(bytes.subarray(from * width, (from + 1) * width), i * width);
    }
    return out;
  });
}

/** Bytes of the longest pickle; that of a model with 10,000 tensors has three million. */
export const PICKLE_LIMIT = 64 * 1024 * 1024;

/** Checks the sizes of storages together, [bytes], and of their tensors, against that of the file. */
export function checkTotals(path: string, size: number, storages: Iterable<number>, parts: Iterable<Part>): void {
  const total = [...storages].reduce((a, b) => a + b, 0);
  if (total > size) throw refusePickle(path, 'storages that do not overlap', `${total} bytes in a file of ${size}`);
  const copies = [...parts].reduce((sum, { storage, dims }) => sum + sizeOf(dims) * DATA_TYPES[storage.dtype].bytes, 0);
  // Tied weights share a storage: a few, not thousands.
  if (copies > 8 * size)
    throw refusePickle(path, 'tensors of about the size of the file', `${copies} bytes in a file of ${size}`);
}

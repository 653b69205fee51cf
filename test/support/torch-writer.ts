/*
 * Files of torch.save, byte by byte: a zip archive of stored files with a pickle of protocol 2.
 */

const u16 = (value: number): Buffer => Buffer.from(Uint16Array.of(value).buffer);
const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);

/** A pickle's opcodes. */
export const pickle = (...parts: readonly (Buffer | string)[]): Buffer =>
  Buffer.concat([Buffer.from([0x80, 2]), ...parts.map((p) => (typeof p === 'string' ? Buffer.from(p, 'latin1') : p))]);
export const text = (value: string): Buffer =>
  Buffer.concat([Buffer.from('X'), u32(Buffer.byteLength(value)), Buffer.from(value)]);
export const integer = (value: number): Buffer => {
  const long = Buffer.alloc(10, 0);
  long.set([0x8a, 8]);
  long.writeBigInt64LE(BigInt(value), 2);
  return long;
};
const tuple = (values: readonly number[]): Buffer =>
  Buffer.concat([Buffer.from('('), ...values.map(integer), Buffer.from('t')]);

export interface TensorPickle {
  readonly storage?: string;
  readonly key?: string;
  readonly length: number;
  readonly offset?: number;
  readonly dims: readonly number[];
  readonly strides: readonly number[];
  /** Whether the storage has a description of a view, as PyTorch before 0.4 wrote them. */
  readonly view?: boolean;
}

/** A call that makes a tensor. */
export const tensorPickle = ({
  storage = 'FloatStorage',
  key = '0',
  length,
  offset = 0,
  dims,
  strides,
  view = false,
}: TensorPickle) =>
  Buffer.concat([
    Buffer.from('ctorch._utils\n_rebuild_tensor_v2\n(('),
    text('storage'),
    Buffer.from(`ctorch\n${storage}\n`),
    text(key),
    text('cpu'),
    integer(length),
    view ? tuple([0, 0, length]) : Buffer.alloc(0),
    Buffer.from('tQ'),
    integer(offset),
    tuple(dims),
    tuple(strides),
    Buffer.from('\x89ccollections\nOrderedDict\n)RtR', 'latin1'),
  ]);

/** A pickle of a dictionary of tensors. */
export const statePickle = (tensors: Readonly<Record<string, Buffer>>): Buffer =>
  pickle('ccollections\nOrderedDict\n)R(', ...Object.entries(tensors).flatMap(([name, t]) => [text(name), t]), 'u.');

export interface Entry {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Compression method the directory states. */
  readonly method?: number;
  /** Where the directory says the local header is, and how many bytes there are. */
  readonly at?: number;
  readonly size?: number;
}

/** Writes a zip archive, with the lies of its entries. */
export function archive(entries: readonly Entry[]): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, bytes, method = 0, at: stated = at, size = bytes.byteLength } of entries) {
    const common = [u16(0), u16(method), u32(0), u32(0), u32(size), u32(size), u16(name.length), u16(0)];
    const local = Buffer.concat([u32(0x04034b50), u16(20), ...common, Buffer.from(name), bytes]);
    const rest = [u16(0), u16(0), u16(0), u32(0), u32(stated), Buffer.from(name)];
    directory.push(Buffer.concat([u32(0x02014b50), u16(20), u16(20), ...common, ...rest]));
    locals.push(local);
    at += local.byteLength;
  }
  const size = directory.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const count = u16(entries.length);
  const end = [u32(0x06054b50), u16(0), u16(0), count, count, u32(size), u32(at), u16(0)];
  return Buffer.concat([...locals, ...directory, ...end]);
}

const bytesOf = (values: readonly number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

/** A file of torch.save with a pickle and storages of float32. */
export const torchFile = (data: Buffer, ...storages: readonly (readonly number[])[]): Buffer =>
  archive([
    { name: 'm/data.pkl', bytes: data },
    { name: 'm/byteorder', bytes: Buffer.from('little') },
    ...storages.map((values, key) => ({ name: `m/data/${key}`, bytes: bytesOf(values) })),
  ]);

/** A file of torch.save before PyTorch 1.6: the pickle of a dictionary, then storages of float32, in the order of their keys. */
export function legacyFile(
  data: Buffer,
  storages: Readonly<Record<string, readonly number[]>>,
  version = 1001,
): Buffer {
  const magic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
  const machine = pickle('}(', text('protocol_version'), integer(version), text('little_endian'), '\x88u.');
  const keys = pickle('](', ...Object.keys(storages).map(text), 'e.');
  const raw = Object.values(storages).map((values) => {
    const length = Buffer.alloc(8);
    length.writeBigInt64LE(BigInt(values.length));
    return Buffer.concat([length, bytesOf(values)]);
  });
  return Buffer.concat([magic, pickle(integer(version), '.'), machine, data, keys, ...raw]);
}

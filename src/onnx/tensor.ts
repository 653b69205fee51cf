import { DATA_TYPES, type DataType, type NumberArray } from './dtypes.ts';

/** An immutable tensor: little-endian bytes, row-major. */
export interface Tensor {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Returns an axis counted from the front; a negative one counts from the end. */
export const frontAxis = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** Whether a value can be a size or an offset: a whole number from 0. */
export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** Returns the number of elements. */
export const sizeOf = (dims: readonly number[]): number => dims.reduce((product, d) => product * d, 1);

/** Wraps typed data without a copy. */
export function tensorOf(dtype: DataType, dims: readonly number[], data: NumberArray): Tensor {
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  return Object.freeze({ dtype, dims: Object.freeze([...dims]), bytes });
}

/** Makes a tensor whose bytes are made anew whenever they are read, such as from a file, so that none stay in memory. */
export const deferred = (dtype: DataType, dims: readonly number[], make: () => Uint8Array<ArrayBuffer>): Tensor =>
  Object.freeze({
    dtype,
    dims: Object.freeze([...dims]),
    get bytes() {
      return make();
    },
  });

/** Returns the number of bytes, without making those of a deferred tensor. */
export const byteLength = ({ dtype, dims }: Tensor): number => sizeOf(dims) * DATA_TYPES[dtype].bytes;

/** Makes a tensor of numbers, each rounded to `dtype`; bfloat16 rounds to nearest, ties to even. */
export function tensor(dtype: DataType, dims: readonly number[], values: Iterable<number | bigint>): Tensor {
  const { view, bytes } = DATA_TYPES[dtype];
  const list = [...values];
  const data = view(new ArrayBuffer(list.length * bytes), 0, list.length);
  for (let i = 0; i < list.length; i++) write(dtype, data, i, list[i]!);
  return tensorOf(dtype, dims, data);
}

const INT64_MAX = 9223372036854775807n;

/** Converts to int64 with saturation: the double nearest to 2^63 − 1 is 2^63, which must not wrap. */
export function toInt64(value: number | bigint): bigint {
  const whole = typeof value === 'bigint' ? value : BigInt(Math.trunc(value));
  return whole > INT64_MAX ? INT64_MAX : whole < -INT64_MAX - 1n ? -INT64_MAX - 1n : whole;
}

function write(dtype: DataType, data: NumberArray, index: number, value: number | bigint): void {
  if (data instanceof BigInt64Array) data[index] = toInt64(value);
  else if (data instanceof BigUint64Array) data[index] = BigInt(value);
  else data[index] = dtype === 'bfloat16' ? bfloat16Bits(Number(value)) : Number(value);
}

function bfloat16Bits(value: number): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer)[0]!;
  return Number.isNaN(value) ? 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Returns the numbers as a typed array over the tensor's own bytes (a copy only where they are not aligned). Do not write to it. */
export function view(t: Tensor): NumberArray {
  const entry = DATA_TYPES[t.dtype];
  const aligned = t.bytes.byteOffset % entry.bytes === 0 ? t.bytes : new Uint8Array(t.bytes);
  return entry.view(aligned.buffer, aligned.byteOffset, aligned.byteLength / entry.bytes);
}

/** Returns the numbers as doubles; int64 past 2^53 are rounded. */
export function numbers(t: Tensor): number[] {
  const data = view(t);
  if (t.dtype === 'bfloat16') return Array.from(bfloat16ToFloat32(data as Uint16Array));
  return Array.from(data as ArrayLike<number | bigint>, Number);
}

function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** Returns the numbers as float32, without a copy where they are float32 already. Do not write to it. */
export function float32View(t: Tensor): Float32Array {
  if (t.dtype === 'bfloat16') return bfloat16ToFloat32(view(t) as Uint16Array);
  const data = view(t);
  return data instanceof Float32Array ? data : Float32Array.from(data as ArrayLike<number | bigint>, Number);
}

/** Makes a float32 tensor; a Float32Array is not copied. */
export const float32 = (dims: readonly number[], values: Iterable<number>): Tensor =>
  tensorOf('float32', dims, values instanceof Float32Array ? values : Float32Array.from(values));

/** Makes a vector of int64, the type of axes and shapes in ONNX. */
export const int64s = (values: readonly number[]): Tensor => tensor('int64', [values.length], values);

/** Returns the same numbers in another type. */
export function castTensor(t: Tensor, dtype: DataType): Tensor {
  return t.dtype === dtype ? t : tensor(dtype, t.dims, numbers(t));
}

/** Transposes a matrix. */
export function transposeTensor(t: Tensor): Tensor {
  const [rows, columns] = t.dims as [number, number];
  const source = view(t);
  const { view: make, bytes } = DATA_TYPES[t.dtype];
  const out = make(new ArrayBuffer(t.bytes.byteLength), 0, t.bytes.byteLength / bytes);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) (out as Float32Array)[j * rows + i] = (source as Float32Array)[i * columns + j]!;
  return tensorOf(t.dtype, [columns, rows], out);
}

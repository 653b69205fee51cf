import { WinnowError } from '../errors.ts';

export type DataType =
  | 'float32'
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'bool'
  | 'float16'
  | 'float64'
  | 'uint32'
  | 'uint64'
  | 'bfloat16';

export type NumberArray =
  | Float32Array
  | Float64Array
  | Float16Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

interface Entry {
  /** `TensorProto.DataType`. */
  readonly code: number;
  readonly bytes: number;
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => NumberArray;
}

/** bfloat16 has no typed array: its bits are viewed as uint16. */
export const DATA_TYPES: Readonly<Record<DataType, Entry>> = {
  float32: { code: 1, bytes: 4, view: (b, o, n) => new Float32Array(b, o, n) },
  uint8: { code: 2, bytes: 1, view: (b, o, n) => new Uint8Array(b, o, n) },
  int8: { code: 3, bytes: 1, view: (b, o, n) => new Int8Array(b, o, n) },
  uint16: { code: 4, bytes: 2, view: (b, o, n) => new Uint16Array(b, o, n) },
  int16: { code: 5, bytes: 2, view: (b, o, n) => new Int16Array(b, o, n) },
  int32: { code: 6, bytes: 4, view: (b, o, n) => new Int32Array(b, o, n) },
  int64: { code: 7, bytes: 8, view: (b, o, n) => new BigInt64Array(b, o, n) },
  bool: { code: 9, bytes: 1, view: (b, o, n) => new Uint8Array(b, o, n) },
  float16: { code: 10, bytes: 2, view: (b, o, n) => new Float16Array(b, o, n) },
  float64: { code: 11, bytes: 8, view: (b, o, n) => new Float64Array(b, o, n) },
  uint32: { code: 12, bytes: 4, view: (b, o, n) => new Uint32Array(b, o, n) },
  uint64: { code: 13, bytes: 8, view: (b, o, n) => new BigUint64Array(b, o, n) },
  bfloat16: { code: 16, bytes: 2, view: (b, o, n) => new Uint16Array(b, o, n) },
};

const BY_CODE: ReadonlyMap<number, DataType> = new Map(
  Object.entries(DATA_TYPES).map(([name, { code }]) => [code, name as DataType]),
);

/**
 * Returns the data type of a protobuf code.
 * @throws WinnowError `invalid_graph` for types that are not supported (strings, complex numbers, floats of 4 and 8 bits).
 */
export function dataTypeOf(code: number, where: string): DataType {
  const found = BY_CODE.get(code);
  if (found === undefined)
    throw new WinnowError('invalid_graph', { where, expected: 'a numeric data type', got: `code ${code}` });
  return found;
}

export const isFloat = (dtype: DataType): boolean =>
  dtype === 'float32' || dtype === 'float64' || dtype === 'float16' || dtype === 'bfloat16';

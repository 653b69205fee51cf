import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  AttributeProto_AttributeType as A,
  type AttributeProto,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { WinnowError } from '../errors.ts';
import { DATA_TYPES } from './dtypes.ts';
import type { Attribute, Graph, Model, Node, ValueInfo } from './graph.ts';
import { byteLength, type Tensor, toInt64 } from './tensor.ts';

const bytes = (s: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(s) as Uint8Array<ArrayBuffer>;

/** Returns where the bytes of an initializer are stored; undefined for inside the model file. */
export type Placement = (
  name: string,
  value: Tensor,
) => { readonly location: string; readonly offset: number; readonly length: number } | undefined;

/** Bytes of a message, or a tensor whose bytes stand there. */
type Piece = Uint8Array | Tensor;

const lengthOf = (piece: Piece): number => ('dtype' in piece ? byteLength(piece) : piece.byteLength);
const sumOf = (pieces: readonly Piece[]): number => pieces.reduce((sum, piece) => sum + lengthOf(piece), 0);

/** Returns the bytes before a field of bytes: its number and their count. */
const fieldHead = (field: number, length: number): Uint8Array =>
  new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish();

/** Numbers of fields in the ONNX messages. */
const GRAPH = 7;
const INITIALIZER = 5;
const RAW_DATA = 9;

/**
 * Encodes a model as a ModelProto of at most 2 GiB; `place` makes initializers external.
 * @throws WinnowError `invalid_graph` for a model with functions.
 */
export function encodeModel(model: Model, place: Placement = () => undefined): Uint8Array {
  const pieces = piecesOf(model, place);
  const all = new Uint8Array(sumOf(pieces));
  let at = 0;
  for (const piece of pieces) {
    all.set('dtype' in piece ? piece.bytes : piece, at);
    at += lengthOf(piece);
  }
  return all;
}

/**
 * Returns the parts of a ModelProto in order, for a writer that holds one tensor at a time; `place` makes initializers external. Fields
 * stand in the order of their numbers, as protobuf's own writers put them.
 * @throws WinnowError `invalid_graph` for a model with functions.
 */
export function piecesOf(model: Model, place: Placement): readonly Piece[] {
  if (model.functions.length > 0)
    throw new WinnowError('invalid_graph', {
      where: 'model',
      expected: 'functions inlined before writing',
      got: model.functions[0]!.name,
    });
  const head = create(ModelProtoSchema, { irVersion: BigInt(model.irVersion), producerName: model.producer });
  const tail = create(ModelProtoSchema, {
    opsetImport: Object.entries(model.opsets).map(([domain, version]) =>
      create(OperatorSetIdProtoSchema, { domain, version: BigInt(version) }),
    ),
    metadataProps: Object.entries(model.metadata).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    ),
  });
  const { graph } = model;
  const inner = [
    toBinary(GraphProtoSchema, create(GraphProtoSchema, { name: nameOf(graph), node: graph.nodes.map(encodeNode) })),
    ...[...graph.initializers].flatMap(([name, value]) => initializerPieces(name, value, place(name, value))),
    toBinary(
      GraphProtoSchema,
      create(GraphProtoSchema, { input: graph.inputs.map(encodeInfo), output: graph.outputs.map(encodeInfo) }),
    ),
  ];
  return [toBinary(ModelProtoSchema, head), fieldHead(GRAPH, sumOf(inner)), ...inner, toBinary(ModelProtoSchema, tail)];
}

function initializerPieces(name: string, value: Tensor, placed: ReturnType<Placement>): readonly Piece[] {
  if (placed) {
    const outside = toBinary(TensorProtoSchema, encodePlaced(name, value, placed));
    return [fieldHead(INITIALIZER, outside.byteLength), outside];
  }
  const head = toBinary(TensorProtoSchema, create(TensorProtoSchema, tensorHead(name, value)));
  const size = byteLength(value);
  // Protobuf leaves out what is empty.
  const raw: readonly Piece[] = size === 0 ? [] : [fieldHead(RAW_DATA, size), value];
  return [fieldHead(INITIALIZER, head.byteLength + sumOf(raw)), head, ...raw];
}

const nameOf = (graph: Graph): string => graph.name || 'graph';

/** Encodes a graph inside an attribute. */
const encodeGraph = (graph: Graph): GraphProto =>
  create(GraphProtoSchema, {
    name: nameOf(graph),
    input: graph.inputs.map(encodeInfo),
    output: graph.outputs.map(encodeInfo),
    initializer: [...graph.initializers].map(([name, value]) => encodeTensor(name, value)),
    node: graph.nodes.map(encodeNode),
  });

const encodeNode = (n: Node): NodeProto =>
  create(NodeProtoSchema, {
    opType: n.op,
    domain: n.domain,
    name: n.name,
    input: [...n.inputs],
    output: [...n.outputs],
    attribute: Object.entries(n.attrs).map(([name, a]) => encodeAttribute(name, a)),
  });

function encodeInfo(info: ValueInfo): ValueInfoProto {
  if (info.dtype === undefined) return create(ValueInfoProtoSchema, { name: info.name });
  const dim = info.dims?.map((d) =>
    create(TensorShapeProto_DimensionSchema, {
      value:
        d === null
          ? { case: undefined }
          : typeof d === 'number'
            ? { case: 'dimValue', value: BigInt(d) }
            : { case: 'dimParam', value: d },
    }),
  );
  const shape = dim === undefined ? {} : { shape: create(TensorShapeProtoSchema, { dim }) };
  const value = create(TypeProto_TensorSchema, { elemType: DATA_TYPES[info.dtype].code, ...shape });
  return create(ValueInfoProtoSchema, {
    name: info.name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
  });
}

const tensorHead = (name: string, { dims, dtype }: Tensor) => ({
  name,
  dims: dims.map(BigInt),
  dataType: DATA_TYPES[dtype].code,
});

const encodeTensor = (name: string, value: Tensor): TensorProto =>
  create(TensorProtoSchema, { ...tensorHead(name, value), rawData: value.bytes });

function encodePlaced(name: string, value: Tensor, placed: Exclude<ReturnType<Placement>, undefined>): TensorProto {
  const externalData = Object.entries(placed).map(([key, v]) =>
    create(StringStringEntryProtoSchema, { key, value: String(v) }),
  );
  return create(TensorProtoSchema, {
    ...tensorHead(name, value),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData,
  });
}

function encodeAttribute(name: string, a: Attribute): AttributeProto {
  const make = (fields: Partial<AttributeProto>) => create(AttributeProtoSchema, { name, ...fields } as AttributeProto);
  const writers: { [K in Attribute['kind']]: (value: Extract<Attribute, { kind: K }>['value']) => AttributeProto } = {
    int: (i) => make({ type: A.INT, i: toInt64(i) }),
    float: (f) => make({ type: A.FLOAT, f }),
    string: (s) => make({ type: A.STRING, s: bytes(s) }),
    ints: (v) => make({ type: A.INTS, ints: v.map(toInt64) }),
    floats: (v) => make({ type: A.FLOATS, floats: [...v] }),
    strings: (v) => make({ type: A.STRINGS, strings: v.map(bytes) }),
    tensor: (t) => make({ type: A.TENSOR, t: encodeTensor('', t) }),
    graph: (g) => make({ type: A.GRAPH, g: encodeGraph(g) }),
    reference: (s) => make({ refAttrName: s }),
  };
  return (writers[a.kind] as (value: Attribute['value']) => AttributeProto)(a.value);
}

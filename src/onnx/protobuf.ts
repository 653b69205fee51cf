import { fromBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as A,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
  TensorProto_DataLocation,
  type ValueInfoProto,
} from 'onnx-buf';
import { WinnowError } from '../errors.ts';
import { DATA_TYPES, dataTypeOf } from './dtypes.ts';
import {
  type Attribute,
  type Attributes,
  type Dim,
  freezeGraph,
  freezeNode,
  type Graph,
  type Model,
  type Node,
  type ValueInfo,
} from './graph.ts';
import { sizeOf, type Tensor, tensor } from './tensor.ts';

/** Reads the bytes of a tensor that is stored outside the model file. */
export type External = (entry: {
  readonly location: string;
  readonly offset: number;
  readonly length: number | undefined;
}) => Uint8Array<ArrayBuffer>;

const text = new TextDecoder();

const refuseExternal: External = ({ location }) => {
  throw new WinnowError('invalid_graph', { where: 'model bytes', expected: 'no external data', got: location });
};

/**
 * Decodes a ModelProto. Tensors share the memory of `data`.
 * @throws WinnowError `invalid_graph` if the bytes are not a model, or it holds an unsupported type.
 */
export function decodeModel(data: Uint8Array, where = 'model bytes', external: External = refuseExternal): Model {
  const proto = parse(data, where);
  if (!proto.graph) throw new WinnowError('invalid_graph', { where, expected: 'a graph', got: 'none' });
  const decode = new Decoder(where, external);
  return Object.freeze({
    irVersion: Number(proto.irVersion),
    opsets: Object.fromEntries(proto.opsetImport.map((o) => [domainOf(o.domain), Number(o.version)])),
    producer: proto.producerName,
    metadata: Object.fromEntries(proto.metadataProps.map((p) => [p.key, p.value])),
    functions: proto.functions.map((f) => ({
      domain: domainOf(f.domain),
      name: f.name,
      overload: f.overload,
      inputs: f.input,
      outputs: f.output,
      defaults: decode.attributes(f.attributeProto, f.name),
      nodes: f.node.map((n) => decode.node(n)),
    })),
    graph: decode.graph(proto.graph),
  });
}

function parse(data: Uint8Array, where: string): ModelProto {
  try {
    // A Uint8Array, since `slice` of a Buffer does not copy.
    return fromBinary(ModelProtoSchema, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  } catch (error) {
    const got = `bytes that do not parse (${(error as Error).message})`;
    throw new WinnowError('invalid_graph', { where, expected: 'an ONNX model', got }, { cause: error });
  }
}

const domainOf = (domain: string): string => (domain === 'ai.onnx' ? '' : domain);

class Decoder {
  readonly #where: string;
  readonly #external: External;

  constructor(where: string, external: External) {
    this.#where = where;
    this.#external = external;
  }

  graph(proto: GraphProto): Graph {
    const initializers = new Map(proto.initializer.map((t) => [t.name, this.tensor(t)]));
    if (proto.sparseInitializer.length > 0)
      throw new WinnowError('invalid_graph', {
        where: this.#where,
        expected: 'dense initializers',
        got: 'sparse ones',
      });
    return freezeGraph({
      name: proto.name,
      // Files of IR 3 list initializers among the inputs.
      inputs: proto.input.filter((i) => !initializers.has(i.name)).map((i) => this.valueInfo(i)),
      outputs: proto.output.map((o) => this.valueInfo(o)),
      initializers,
      nodes: proto.node.map((n) => this.node(n)),
    });
  }

  node(proto: NodeProto): Node {
    const label = proto.name || `${proto.opType} → ${proto.output[0] ?? ''}`;
    return freezeNode({
      op: proto.opType,
      domain: domainOf(proto.domain),
      name: proto.name,
      inputs: proto.input,
      outputs: proto.output,
      attrs: this.attributes(proto.attribute, label),
    });
  }

  attributes(protos: readonly AttributeProto[], label: string): Attributes {
    return Object.fromEntries(protos.map((a) => [a.name, this.attribute(a, label)]));
  }

  attribute(a: AttributeProto, label: string): Attribute {
    if (a.refAttrName !== '') return { kind: 'reference', value: a.refAttrName };
    const readers: Partial<Record<A, () => Attribute>> = {
      [A.FLOAT]: () => ({ kind: 'float', value: a.f }),
      [A.INT]: () => ({ kind: 'int', value: Number(a.i) }),
      [A.STRING]: () => ({ kind: 'string', value: text.decode(a.s) }),
      [A.TENSOR]: () => ({ kind: 'tensor', value: this.tensor(a.t!) }),
      [A.GRAPH]: () => ({ kind: 'graph', value: this.graph(a.g!) }),
      [A.FLOATS]: () => ({ kind: 'floats', value: a.floats }),
      [A.INTS]: () => ({ kind: 'ints', value: a.ints.map(Number) }),
      [A.STRINGS]: () => ({ kind: 'strings', value: a.strings.map((s) => text.decode(s)) }),
    };
    const read = readers[a.type];
    if (read) return read();
    const where = `${this.#where}, node ${label}`;
    throw new WinnowError('invalid_graph', {
      where,
      expected: 'a known attribute type',
      got: `${a.name} of type ${a.type}`,
    });
  }

  valueInfo(proto: ValueInfoProto): ValueInfo {
    const where = `${this.#where}, value ${proto.name}`;
    if (proto.type?.value.case !== 'tensorType')
      // Outputs of subgraphs may come without a type.
      return { name: proto.name };
    const { elemType, shape } = proto.type.value.value;
    const info = elemType === 0 ? { name: proto.name } : { name: proto.name, dtype: dataTypeOf(elemType, where) };
    if (!shape) return info;
    const dims = shape.dim.map((d): Dim => {
      if (d.value.case === 'dimValue') return Number(d.value.value);
      return d.value.case === 'dimParam' && d.value.value !== '' ? d.value.value : null;
    });
    return { ...info, dims };
  }

  tensor(proto: TensorProto): Tensor {
    const where = `${this.#where}, tensor ${proto.name || '(unnamed)'}`;
    const dtype = dataTypeOf(proto.dataType, where);
    const dims = proto.dims.map(Number);
    const size = sizeOf(dims) * DATA_TYPES[dtype].bytes;
    const found = this.#bytes(proto, dims, dtype);
    if (found.byteLength !== size)
      throw new WinnowError('invalid_graph', {
        where,
        expected: `${size} bytes for ${dtype}[${dims}]`,
        got: `${found.byteLength}`,
      });
    return Object.freeze({ dtype, dims: Object.freeze(dims), bytes: found });
  }

  #bytes(proto: TensorProto, dims: readonly number[], dtype: Tensor['dtype']): Uint8Array<ArrayBuffer> {
    if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
      const entry = Object.fromEntries(proto.externalData.map((e) => [e.key, e.value]));
      const length = entry.length === undefined ? sizeOf(dims) * DATA_TYPES[dtype].bytes : Number(entry.length);
      return this.#external({ location: entry.location ?? '', offset: Number(entry.offset ?? 0), length });
    }
    if (proto.rawData.byteLength > 0) return proto.rawData;
    if (dtype === 'float16' || dtype === 'bfloat16') return new Uint8Array(Uint16Array.from(proto.int32Data).buffer);
    const lists = [proto.floatData, proto.int32Data, proto.int64Data, proto.doubleData, proto.uint64Data];
    const values = lists.find((l) => l.length > 0) ?? [];
    return tensor(dtype, dims, values as Iterable<number | bigint>).bytes;
  }
}

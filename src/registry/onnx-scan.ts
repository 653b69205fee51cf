import { WinnowError } from '../errors.ts';
import { openRegular } from './folder-files.ts';
import { excerpt } from './model-names.ts';
import { WireReader } from './wire-reader.ts';

/*
 * Reads the facts that admission needs from an ONNX file of any size without loading it: walks the protobuf wire format
 * (protobuf.dev/programming-guides/encoding) and skips the weights. Field numbers are those of onnx.proto3.
 */

interface GraphValue {
  readonly name: string;
  /** The dimensions: a number, or undefined for a symbolic one. Undefined if the type has no shape. */
  readonly shape: readonly (number | undefined)[] | undefined;
}

interface ExternalData {
  /** The path as written: relative to the ONNX file's folder, not checked. */
  readonly location: string;
  /** The least size of the file in bytes. */
  readonly bytes: number;
}

export interface GraphFacts {
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  readonly external: readonly ExternalData[];
  /** All op types in the file. */
  readonly ops: ReadonlySet<string>;
  /** The tool that wrote the file; empty where it does not say. */
  readonly producer: string;
}

interface Found {
  readonly inputs: GraphValue[];
  readonly outputs: GraphValue[];
  readonly initializers: Set<string>;
  readonly external: Map<string, number>;
  readonly ops: Set<string>;
  producer: string;
  graphs: number;
  /** Characters kept so far, which are limited so that a file of names cannot fill the memory. */
  kept: number;
}

type Visit = (reader: WireReader, end: number, found: Found, depth: number) => Promise<void>;

const MAX_DEPTH = 32;
const MAX_NAME = 4096;
const MAX_KEPT = 33_554_432;

/** Returns a visitor of messages. `fields` gives the visitors of length-delimited fields by number; other fields are skipped. */
function message(fields: () => Readonly<Record<number, Visit>>): Visit {
  return async (reader, end, found, depth) => {
    if (depth > MAX_DEPTH) throw reader.fault(`messages nested at most ${MAX_DEPTH} deep`, 'deeper');
    const table = fields();
    while (reader.position < end) {
      const { field, wire } = await reader.tag();
      const visit = wire === 2 ? table[field] : undefined;
      if (!visit) await reader.skip(wire, end);
      else await visit(reader, await reader.fieldEnd(end), found, depth + 1);
    }
  };
}

async function text(reader: WireReader, end: number, found: Found): Promise<string> {
  const value = await reader.text(end, MAX_NAME);
  found.kept += value.length + 16;
  if (found.kept > MAX_KEPT) throw reader.fault(`names of at most ${MAX_KEPT} characters together`, 'more');
  return value;
}

async function readEntry(reader: WireReader, end: number, found: Found): Promise<readonly [string, string]> {
  let key = '';
  let value = '';
  while (reader.position < end) {
    const { field, wire } = await reader.tag();
    if (wire === 2 && field === 1) key = await text(reader, await reader.fieldEnd(end), found);
    else if (wire === 2 && field === 2) value = await text(reader, await reader.fieldEnd(end), found);
    else await reader.skip(wire, end);
  }
  return [key, value];
}

/** TensorProto: name (8), external_data (13); raw_data and the other fields are skipped. */
function tensor(isInitializer: boolean): Visit {
  return async (reader, end, found) => {
    const entries = new Map<string, string>();
    while (reader.position < end) {
      const { field, wire } = await reader.tag();
      if (wire === 2 && field === 13) {
        const [key, value] = await readEntry(reader, await reader.fieldEnd(end), found);
        entries.set(key, value);
      } else if (wire === 2 && field === 8 && isInitializer)
        found.initializers.add(await text(reader, await reader.fieldEnd(end), found));
      else await reader.skip(wire, end);
    }
    const location = entries.get('location');
    if (location === undefined) return;
    const bytes = Number(entries.get('offset') ?? 0) + Number(entries.get('length') ?? 0);
    if (!Number.isSafeInteger(bytes) || bytes < 0)
      throw reader.fault('external data with offset and length', 'no numbers');
    found.external.set(location, Math.max(bytes, found.external.get(location) ?? 0));
  };
}

async function readDimension(reader: WireReader, end: number): Promise<number | undefined> {
  let value: number | undefined;
  while (reader.position < end) {
    const { field, wire } = await reader.tag();
    if (wire === 0 && field === 1) value = await reader.varint();
    else await reader.skip(wire, end);
  }
  return value;
}

/** Calls `inner` for every length-delimited field with number `wanted` and skips the others. */
async function each(
  reader: WireReader,
  end: number,
  wanted: number,
  inner: (end: number) => Promise<void>,
): Promise<void> {
  while (reader.position < end) {
    const { field, wire } = await reader.tag();
    if (wire === 2 && field === wanted) await inner(await reader.fieldEnd(end));
    else await reader.skip(wire, end);
  }
}

/** ValueInfoProto: name (1), type (2) → tensor_type (1) → shape (2) → dim (1). */
async function readValue(reader: WireReader, end: number, found: Found): Promise<GraphValue> {
  let name = '';
  let shape: (number | undefined)[] | undefined;
  while (reader.position < end) {
    const { field, wire } = await reader.tag();
    if (wire === 2 && field === 1) name = await text(reader, await reader.fieldEnd(end), found);
    else if (wire === 2 && field === 2)
      await each(reader, await reader.fieldEnd(end), 1, (type) =>
        each(reader, type, 2, (dims) => {
          shape = [];
          return each(reader, dims, 1, async (dim) => {
            if (shape!.push(await readDimension(reader, dim)) > 64) throw reader.fault('at most 64 dimensions', 'more');
          });
        }),
      );
    else await reader.skip(wire, end);
  }
  return { name, shape };
}

function value(side: 'inputs' | 'outputs'): Visit {
  return async (reader, end, found, depth) => {
    const read = await readValue(reader, end, found);
    // Subgraphs (If, Loop) have their own inputs; only those of the main graph count.
    if (depth > 2) return;
    found[side].push(read);
  };
}

const opType: Visit = async (reader, end, found) => {
  found.ops.add(await text(reader, end, found));
};

const graph: Visit = message(() => ({
  1: node,
  5: tensor(true),
  11: value('inputs'),
  12: value('outputs'),
  15: sparse,
}));
const node: Visit = message(() => ({ 4: opType, 5: attribute }));
const attribute: Visit = message(() => ({
  5: tensor(false),
  6: graph,
  10: tensor(false),
  11: graph,
  22: sparse,
  23: sparse,
}));
const sparse: Visit = message(() => ({ 1: tensor(false), 2: tensor(false) }));
const training: Visit = message(() => ({ 1: graph, 2: graph }));
const functions: Visit = message(() => ({ 7: node, 11: attribute }));
const mainGraph: Visit = async (reader, end, found, depth) => {
  found.graphs++;
  await graph(reader, end, found, depth);
};
const producerName: Visit = async (reader, end, found) => {
  found.producer = await text(reader, end, found);
};
const model: Visit = message(() => ({ 2: producerName, 7: mainGraph, 20: training, 25: functions }));

/**
 * Scans an ONNX file.
 * @param name File name for error messages.
 * @throws WinnowError `invalid_manifest` if it is not a complete ONNX file.
 */
export async function scanOnnx(path: string, name: string): Promise<GraphFacts> {
  const handle = await openRegular(path);
  try {
    const { size } = await handle.stat();
    const found: Found = {
      inputs: [],
      outputs: [],
      initializers: new Set(),
      external: new Map(),
      ops: new Set(),
      producer: '',
      graphs: 0,
      kept: 0,
    };
    await model(new WireReader(handle, size, excerpt(name)), size, found, 0);
    if (found.graphs !== 1 || found.outputs.length === 0)
      throw new WinnowError('invalid_manifest', {
        file: excerpt(name),
        expected: 'an ONNX model with one graph that has outputs',
        got: size === 0 ? 'an empty file' : 'something else',
        field: 'graph',
      });
    return {
      // Old exporters list the weights among the inputs too.
      inputs: found.inputs.filter((v) => !found.initializers.has(v.name)),
      outputs: found.outputs,
      external: [...found.external].map(([location, bytes]) => ({ location, bytes })),
      ops: found.ops,
      producer: found.producer,
    };
  } finally {
    await handle.close();
  }
}

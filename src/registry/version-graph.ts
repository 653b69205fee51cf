import { createHash } from 'node:crypto';
import { join, posix } from 'node:path';
import { WinnowError } from '../errors.ts';
import type { Provider, Reduction } from '../inference/inference-types.ts';
import { INPUTS } from '../inference/padding.ts';
import { adoptReduction } from './adoption.ts';
import { checkHalves } from './interaction.ts';
import { excerpt, isSafePath } from './model-names.ts';
import { type GraphFacts, scanOnnx } from './onnx-scan.ts';
import { refuse, sha256Of, type VersionFolder } from './version-folder.ts';
import { isForeign, preferredVariants, type Variant, type VariantPreference } from './version-variants.ts';

/** The ONNX file of a version that is served. */
export interface ChosenGraph {
  readonly variant: Variant;
  /** External data files, those of both graphs of an interaction model, relative to the version's folder. */
  readonly external: readonly string[];
  readonly reduction: Reduction;
  /** Size of the files and their external data in bytes. */
  readonly bytes: number;
  /** Operators that compute over the rows of a batch together, so that a score may depend on co-batched rows. */
  readonly batchOps: readonly string[];
  /** Whether the graph can tell padding from text. */
  readonly isMasked: boolean;
  /** Whether Winnow made the file, so that nothing in it is to rewrite. */
  readonly isOwn: boolean;
}

/** How a graph that gives states of tokens becomes one that gives vectors. */
const AS_ENCODER = 'import its folder with --bi-encoder and --pooling';

const KNOWN_INPUTS = Object.keys(INPUTS);

function checkInputs(inputs: GraphFacts['inputs'], file: string): void {
  const names = inputs.map((v) => v.name);
  if (!names.includes('input_ids') || names.some((name) => !KNOWN_INPUTS.includes(name)))
    refuse(
      file,
      `inputs input_ids and any of ${KNOWN_INPUTS.filter((name) => name !== 'input_ids').join(', ')}`,
      names.join(', ') || 'none',
      'inputs',
    );
}

/** Returns the width of the output that a host reads (`logits`, else the first) if it is fixed. */
function outputWidth({ outputs }: GraphFacts, { encoder }: VersionFolder, file: string): number | undefined {
  const output = outputs.find((v) => v.name === 'logits') ?? outputs[0]!;
  const { shape } = output;
  if (shape !== undefined && (shape.length === 0 || shape.length > 2)) {
    const got = `${output.name} of ${shape.length} dimensions`;
    if (encoder) refuse(file, `vectors [N, k] as the first output; ${AS_ENCODER}`, got, 'outputs');
    const cause = 'an export without its classification head?';
    refuse(file, `an output [N, 1] (or [N, k]); of a sentence encoder, ${AS_ENCODER}`, `${got}: ${cause}`, 'outputs');
  }
  return shape?.length === 1 ? 1 : shape?.[1];
}

const SINGLE: Reduction = { kind: 'single' };

function reductionOf(version: VersionFolder, width: number | undefined, file: string): Reduction {
  const { manifest, config, encoder, isInteraction } = version;
  if (encoder && !isInteraction) return { kind: 'vector' };
  const reduction = manifest?.reduction ?? (isInteraction ? SINGLE : adoptReduction(config, width));
  if (width === undefined || reduction.kind === 'vector' || reduction.kind === 'kept') return reduction;
  if (reduction.kind === 'single' ? width !== 1 : width < 2 || reduction.index >= width)
    refuse(
      file,
      reduction.kind === 'single' ? 'an output [N, 1]' : `an output above class ${reduction.index}`,
      `[N, ${width}]`,
      'reduction',
    );
  return reduction;
}

/** Checks that external data is in the folder, in the list of files, and long enough. Returns its paths. */
function externalFiles(version: VersionFolder, graph: GraphFacts, file: string): readonly string[] {
  return graph.external.map(({ location, bytes }) => {
    if (!isSafePath(location))
      throw new WinnowError('unsafe_path', { file: excerpt(file), got: `external data at "${excerpt(location)}"` });
    const path = posix.join(posix.dirname(file), location);
    const found = version.files.find((f) => f.path === path);
    if (!found) refuse(path, `the external data of ${file}`, 'nothing', 'files');
    if (found.bytes < bytes) refuse(path, `at least ${bytes} bytes of external data`, String(found.bytes), 'bytes');
    return path;
  });
}

/** The product of `winnow quantize`. No exporter writes it; such files keep the name of the tool that exported the float32 file. */
const OWN_OP = 'MatMulIntegerToFloat';

/** Operators that compute the scale of a quantized tensor from all rows of a batch: dynamic int8. */
const BATCH_OPS = ['DynamicQuantizeLinear', 'DynamicQuantizeMatMul', 'DynamicQuantizeLSTM'];

const batchOpsOf = (graph: GraphFacts): readonly string[] => BATCH_OPS.filter((op) => graph.ops.has(op));

async function scan(version: VersionFolder, variant: Variant): Promise<{ variant: Variant; graph: GraphFacts }> {
  return { variant, graph: await scanOnnx(join(version.folder, variant.file), variant.file) };
}

/**
 * Chooses the ONNX file to serve and checks protobuf, inputs, output and external data without loading it.
 * @throws WinnowError `invalid_manifest`, `unsafe_path`.
 */
export async function chooseGraph(
  version: VersionFolder,
  preference: VariantPreference,
  provider: Provider,
): Promise<ChosenGraph> {
  const [first, ...others] = preferredVariants(version.variants, preference, provider);
  if (!first) return refuse('onnx', `variant ${preference}`, version.variants.map((v) => v.name).join(', '), 'variant');
  let chosen = await scan(version, first);
  // A variant whose scores depend on co-batched rows or on the processor is the last choice.
  const isLast = batchOpsOf(chosen.graph).length > 0 || isForeign(first.file);
  if (preference === 'auto' && isLast && others[0]) chosen = await scan(version, others[0]);
  const { variant, graph } = chosen;
  const passages = await scanPassages(version, variant, graph);
  if (!passages) checkInputs(graph.inputs, variant.file);
  const external = [...externalFiles(version, graph, variant.file), ...(passages?.external ?? [])];
  const size = (path: string) => version.files.find((f) => f.path === path)!.bytes;
  const graphs = passages ? [graph, passages.graph] : [graph];
  return {
    variant,
    external,
    reduction: reductionOf(version, outputWidth(graph, version, variant.file), variant.file),
    bytes: [...graphFiles(variant), ...external].reduce((sum, path) => sum + size(path), 0),
    batchOps: [...new Set(graphs.flatMap(batchOpsOf))],
    isMasked: graphs.every(({ inputs }) => inputs.some((input) => input.name === 'attention_mask')),
    isOwn: graph.producer === 'winnow' || graph.ops.has(OWN_OP),
  };
}

/** Checks the graph of passages of an interaction model, and both graphs against each other; undefined for other kinds. */
async function scanPassages(version: VersionFolder, { file, passages }: Variant, top: GraphFacts) {
  if (passages === undefined) return undefined;
  const graph = await scanOnnx(join(version.folder, passages), passages);
  checkInputs(checkHalves(top, graph, { top: file, passages }), file);
  checkInputs(graph.inputs, passages);
  return { graph, external: externalFiles(version, graph, passages) };
}

/** Returns the hash of the file of a variant; of an interaction model one of the hashes of both graphs and their external data. */
async function servedHash(
  version: VersionFolder,
  { variant, external }: Pick<ChosenGraph, 'variant' | 'external'>,
): Promise<string> {
  if (variant.passages === undefined) return sha256Of(version, variant.file);
  const hash = createHash('sha256');
  for (const path of [...graphFiles(variant), ...external]) hash.update(await sha256Of(version, path));
  return hash.digest('hex');
}

/** Returns the hash of a served version, and that of all files of its graph, external data included. */
export async function servedHashes(
  version: VersionFolder,
  chosen: Pick<ChosenGraph, 'variant' | 'external'>,
): Promise<{ readonly sha256: string; readonly graphHash: string }> {
  const sha256 = await servedHash(version, chosen);
  if (chosen.variant.passages !== undefined || chosen.external.length === 0) return { sha256, graphHash: sha256 };
  const hash = createHash('sha256').update(sha256);
  for (const path of chosen.external) hash.update(await sha256Of(version, path));
  return { sha256, graphHash: hash.digest('hex') };
}

/** Returns the ONNX files of a variant. */
const graphFiles = ({ file, passages }: Variant): readonly string[] =>
  passages === undefined ? [file] : [file, passages];

/** Returns the files that a served version uses: the graph, its external data, and the small files (config and tokenizer). */
export function servedFiles(version: VersionFolder, graph: ChosenGraph): readonly string[] {
  const isWeights = (path: string) => path.includes('/') || path.includes('.onnx');
  const small = version.files.map((f) => f.path).filter((path) => !isWeights(path));
  return [...small, ...graphFiles(graph.variant), ...graph.external];
}

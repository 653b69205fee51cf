import { existsSync } from 'node:fs';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { loadDataset } from '../../evaluation/formats/load-dataset.ts';
import type { Model } from '../../onnx/graph.ts';
import { readModel } from '../../onnx/model-file.ts';
import { MANIFEST_FILE, type Manifest, readManifest } from '../../registry/manifest.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { type Published, publish } from '../../registry/publish-version.ts';
import { readVersionFolder, type VersionFolder } from '../../registry/version-folder.ts';
import { chooseGraph } from '../../registry/version-graph.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import { temporaryFolder } from '../../util/files.ts';
import type { CandidateList } from '../data/list-types.ts';
import { selfTest, selfTestScores } from '../measure/self-test.ts';
import { openValidation } from '../measure/validation.ts';
import { type TablePlace, type Variant, variantFile } from '../recipe/variant-names.ts';
import { checkPositions } from '../step/feeds.ts';
import { addHalves } from './add-halves.ts';
import { parityRows } from './parity-rows.ts';
import type { LeastSpeeds } from './quantize-halves.ts';
import { makeVariant, type Precision, parityCard, parityFacts, tablesIn } from './variants.ts';

interface QuantizeFolderOptions {
  readonly data: string;
  readonly qrels?: string;
  readonly variant: Variant;
  readonly registry: string;
  readonly name: string;
  readonly label?: string;
  readonly depth: number;
  /** Whether the new version keeps the float32 file; true by default. */
  readonly keepsFloat?: boolean;
  readonly tables?: TablePlace;
  /** int8 only: see `QuantizeOptions`. */
  readonly attentionNoise?: number;
  readonly leastSpeed?: LeastSpeeds;
  readonly onProgress?: (stage: string, done: number, total: number) => void;
}

interface QuantizedFolder {
  readonly published: Published;
  /** The section that was added to the model card. */
  readonly card: string;
}

interface Source {
  readonly model: Model;
  readonly file: string;
  readonly precision: Precision;
}

/** The usual names of float32 files, for messages. */
const USUAL = ['onnx/model.onnx', 'model.onnx', 'onnx/model_fp32.onnx'];

/**
 * Reads the file that a variant is made from: the float32 file, under any of the names that are served, or, for int8, the int8 file of a folder
 * without one.
 */
async function readSource({ folder, variants }: VersionFolder, variant: Variant): Promise<Source> {
  const own = variant === 'int8' ? [variantFile('int8')] : [];
  const float = variants.find(({ name }) => name === 'fp32')?.file;
  const file = float ?? own.find((f) => existsSync(join(folder, f)));
  if (file === undefined)
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: `one of ${[...USUAL, ...own].join(', ')}`,
      got: 'none of them',
    });
  return { model: await readModel(join(folder, file)), file, precision: own.includes(file) ? 'int8' : 'float32' };
}

/** Yields the first candidates of each query; in data sets without candidates, its judged passages. */
async function* listsOf(path: string, qrels: string | undefined): AsyncGenerator<CandidateList> {
  const dataset = await loadDataset({ path, ...(qrels !== undefined && { qrels }) });
  for (const [qid, query] of dataset.queries) {
    const docids =
      dataset.candidates?.get(qid)?.docids.slice(0, 8) ?? [...(dataset.qrels.get(qid)?.keys() ?? [])].slice(0, 8);
    if (docids.length === 0) continue;
    yield { qid, query, passages: await dataset.passages.texts(docids), relevance: docids.map(() => 0) };
  }
}

/** Tokens of calibration pairs at most, where the manifest states no length. */
const CALIBRATION_LENGTH = 512;

async function appendToCard(folder: string, section: string): Promise<void> {
  const path = join(folder, 'README.md');
  const card = existsSync(path) ? await readFile(path, 'utf8') : '# Model card\n';
  await writeFile(path, `${card.trimEnd()}\n\n${section}`);
}

/** Removes the float32 files and external data that the variant does not use. */
async function dropFloat(work: string, variant: Variant): Promise<void> {
  const version = await readVersionFolder(work);
  const filesOf = async (name: Variant | 'fp32'): Promise<readonly string[]> => {
    const { variant: chosen, external } = await chooseGraph(version, name, 'cpu');
    return [chosen.file, ...(chosen.passages === undefined ? [] : [chosen.passages]), ...external];
  };
  const used = await filesOf(variant);
  for (const path of await filesOf('fp32')) if (!used.includes(path)) await rm(join(work, path));
}

interface AddedVariant {
  readonly manifest: Partial<Manifest>;
  readonly card: string;
  readonly precision: Precision;
}

const validationOf = ({ data, qrels, depth }: QuantizeFolderOptions) =>
  qrels === undefined ? undefined : { data: { path: data, qrels }, depth, measure: 'nDCG@10' };

/** Adds int8 files to the copied folder of an interaction model. */
async function addToInteraction(
  version: VersionFolder,
  maxLength: number,
  options: QuantizeFolderOptions,
): Promise<AddedVariant> {
  const { variant, data, qrels, keepsFloat = true, tables } = options;
  if (variant !== 'int8')
    throw new WinnowError('invalid_input', {
      where: version.folder,
      expected: 'a cross-encoder or a bi-encoder; an interaction model is made smaller in int8 alone',
      got: `an interaction model and ${variant}`,
    });
  const added = await addHalves(version, {
    ...options,
    lists: listsOf(data, qrels),
    validation: validationOf(options),
    maxLength,
    keepsFloat,
    tables,
  });
  return { ...added, precision: 'float32' };
}

/** Adds the variant to a copied folder. */
async function addVariant(work: string, options: QuantizeFolderOptions): Promise<AddedVariant> {
  const manifest = existsSync(join(work, MANIFEST_FILE)) ? await readManifest(work) : undefined;
  const version = await readVersionFolder(work);
  const maxLength = manifest?.maxLength ?? Math.min(CALIBRATION_LENGTH, version.maxLength);
  if (version.isInteraction) return addToInteraction(version, maxLength, options);
  const source = await readSource(version, options.variant);
  const { model, file, precision } = source;
  checkPositions(model, version.config, file);
  const { encoder } = version;
  const output = model.graph.outputs[0]!.name;
  const tokenizer = await createLocalTokenizer(work);
  const limits = { ...manifest, maxLength };
  try {
    const pairs = pairsWithin(limits);
    const rows = await parityRows(listsOf(options.data, options.qrels), tokenizer, pairs, encoder);
    const validationSettings = validationOf(options);
    const validation =
      validationSettings && (await openValidation(validationSettings, '.', tokenizer, pairs, { prefixes: encoder }));
    const made = await makeVariant(
      options.variant,
      work,
      model,
      output,
      {
        ...rows,
        padId: tokenizer.padId,
        ...(options.attentionNoise !== undefined && { attentionNoise: options.attentionNoise }),
        ...(options.onProgress && { onProgress: options.onProgress }),
      },
      {
        ...(validation && { validation }),
        from: precision,
        write: tablesIn(options.tables, `model_${options.variant}`),
      },
    );
    const keepsFloat = precision === 'float32' && (options.keepsFloat ?? true);
    const scores = {
      ...(keepsFloat && { fp32: await selfTestScores(join(work, file), work, limits, encoder) }),
      [options.variant]: await selfTestScores(made.file, work, limits, encoder),
    };
    const facts = parityFacts([made]);
    const before = manifest?.training?.quantization;
    const quantization = precision === 'int8' ? { ...Object(before), refined: facts.int8 } : facts;
    const training = { ...manifest?.training, quantization };
    return { manifest: { training, selfTest: selfTest(scores, encoder) }, card: parityCard([made]), precision };
  } finally {
    await tokenizer.close();
  }
}

/**
 * Publishes a copy of a model folder with an int8 or fp16 file as the next version. A folder that has an int8 file only gets one that computes
 * the same from fewer nodes, with 8-bit attention scores.
 * @throws WinnowError `model_refused` where the smaller file exceeds the bounds; `invalid_input` for folder and data.
 */
export async function quantizeFolder(source: string, options: QuantizeFolderOptions): Promise<QuantizedFolder> {
  await using temporary = await temporaryFolder('quantize');
  const work = temporary.path;
  await cp(source, work, { recursive: true });
  const { manifest, card, precision } = await addVariant(work, options);
  await appendToCard(work, card);
  // The copied manifest lists old hashes; publishing writes new ones.
  if (existsSync(join(work, MANIFEST_FILE))) {
    const { files: _, ...rest } = await readManifest(work);
    await writeFile(join(work, MANIFEST_FILE), JSON.stringify(rest));
  }
  if (precision === 'float32' && options.keepsFloat === false) await dropFloat(work, options.variant);
  const published = await publish(work, options.registry, options.name, { manifest, label: options.label });
  return { published, card };
}

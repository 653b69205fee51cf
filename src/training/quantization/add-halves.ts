import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { STATES } from '../../onnx/interaction/parts.ts';
import { readModel, writeModel } from '../../onnx/model-file.ts';
import type { Manifest } from '../../registry/manifest.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import type { VersionFolder } from '../../registry/version-folder.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { CandidateList } from '../data/list-types.ts';
import { readApart } from '../interaction/rows.ts';
import { selfTest, selfTestPairs } from '../measure/self-test.ts';
import { openValidation, type Validation, type ValidationSettings } from '../measure/validation.ts';
import type { TablePlace } from '../recipe/variant-names.ts';
import { parityRows } from './parity-rows.ts';
import {
  HALVES,
  type Halves,
  type HalvesOptions,
  isLeft,
  type QuantizedHalves,
  quantizeHalves,
} from './quantize-halves.ts';
import { openHalves } from './reader.ts';
import { type MadeVariant, parityCard, parityFacts, tablesIn, valueBy } from './variants.ts';

interface AddOptions extends Pick<HalvesOptions, 'attentionNoise' | 'leastSpeed' | 'onProgress'> {
  readonly lists: AsyncIterable<CandidateList>;
  readonly validation: Omit<ValidationSettings, 'queries'> | undefined;
  readonly maxLength: number;
  readonly keepsFloat: boolean;
  readonly tables: TablePlace | undefined;
}

interface AddedHalves {
  readonly manifest: Partial<Manifest>;
  readonly card: string;
}

const file = (half: keyof Halves, ending: string) => join('onnx', `${half}${ending}.onnx`);

async function readHalves({ folder, variants }: VersionFolder): Promise<Halves> {
  if (!variants.some(({ name }) => name === 'fp32'))
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: `the float32 files ${HALVES.map((half) => file(half, '')).join(' and ')}`,
      got: variants.map(({ name }) => name).join(', '),
    });
  const [passage, top] = await Promise.all(HALVES.map((half) => readModel(join(folder, file(half, '')))));
  return { passage: passage!, top: top! };
}

/** Measures both versions on a validation set, for the card. */
async function effectiveness(
  validation: Validation,
  [before, after]: readonly [Halves, Halves],
  open: (halves: Halves) => ReturnType<typeof openHalves>,
) {
  const { measure, queries } = validation;
  const fp32 = await valueBy(await open(before), validation);
  return { effectiveness: { measure, queries, fp32, small: await valueBy(await open(after), validation) } };
}

/** Lines of the card about halves that stay in float32. */
const leftCard = (halves: QuantizedHalves['halves']): string =>
  HALVES.map((half) => ({ half, made: halves[half] }))
    .flatMap(({ half, made }) => (isLeft(made) ? [`\n\`${file(half, '')}\` stays in float32: ${made.reason}.\n`] : []))
    .join('');

/** Writes the files of halves that pay. Files that were there before are of another model by now. */
async function writeMade(
  folder: string,
  halves: QuantizedHalves['halves'],
  tables: TablePlace | undefined,
): Promise<readonly MadeVariant[]> {
  const made: MadeVariant[] = [];
  for (const half of HALVES) {
    const own = halves[half];
    const label = `${half}_int8`;
    const path = join(folder, file(half, '_int8'));
    for (const old of [path, join(folder, 'onnx', `${label}.tables`)]) await rm(old, { force: true });
    if (isLeft(own)) continue;
    await writeModel(path, own.model, tablesIn(tables, label));
    made.push({ variant: 'int8', from: 'float32', file: path, parity: own.parity, layers: own.layers, label });
  }
  return made;
}

/** What `model.json` stores about each half. */
const halfFacts = (halves: QuantizedHalves['halves']) =>
  Object.fromEntries(
    HALVES.map((half) => {
      const own = halves[half];
      return [half, isLeft(own) ? { float32: own.reason } : { ...own.parity }];
    }),
  );

/**
 * Adds int8 files to the folder of an interaction model: of both halves, or of the one that pays.
 * @throws WinnowError `model_refused` where neither pays or scores exceed the bounds; `invalid_input` without float32 files.
 */
export async function addHalves(version: VersionFolder, options: AddOptions): Promise<AddedHalves> {
  const { folder, manifest, encoder } = version;
  const source = await readHalves(version);
  const local = await createLocalTokenizer(folder);
  const tokenizer = readApart(local, encoder!);
  const { padId } = local;
  const limits = { ...manifest, maxLength: options.maxLength };
  const pairs = pairsWithin(limits);
  const isHalf = source.passage.graph.outputs.some(({ name, dtype }) => name === STATES && dtype === 'float16');
  const kept = isHalf ? 'float16' : 'int8';
  const open = ({ passage, top }: Halves) => openHalves({ passage, kept }, top, padId, { threads: 1 });
  try {
    const rows = await parityRows(options.lists, tokenizer, pairs);
    const validation = options.validation && (await openValidation(options.validation, '.', tokenizer, pairs));
    const { attentionNoise, leastSpeed, onProgress } = options;
    const { models, halves, parity } = await quantizeHalves(source, {
      ...rows,
      padId,
      kept,
      leastSpeed,
      ...(attentionNoise !== undefined && { attentionNoise }),
      ...(onProgress && { onProgress }),
    });
    const made = await writeMade(folder, halves, options.tables);
    const whole: MadeVariant = {
      variant: 'int8',
      from: 'float32',
      file: join(folder, file('top', isLeft(halves.top) ? '' : '_int8')),
      parity,
      layers: made.flatMap(({ layers }) => layers),
      label: 'together',
      ...(validation && (await effectiveness(validation, [source, models], open))),
    };
    const scoresOf = async (some: Halves): Promise<number[]> => {
      const scorer = await open(some);
      const scores = scorer.score(await selfTestPairs(tokenizer, limits), { rows: 1 });
      return Array.from(await scores.finally(() => scorer.close()));
    };
    const scores = { ...(options.keepsFloat && { fp32: await scoresOf(source) }), int8: await scoresOf(models) };
    const quantization = { int8: { ...parityFacts([whole]).int8, halves: halfFacts(halves) } };
    const training = { ...manifest?.training, quantization };
    return {
      manifest: { training, selfTest: selfTest(scores, encoder) },
      card: `${parityCard([...made, whole])}${leftCard(halves)}`,
    };
  } finally {
    await local.close();
  }
}

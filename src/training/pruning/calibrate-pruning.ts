import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import type { Model } from '../../onnx/graph.ts';
import { readModel } from '../../onnx/model-file.ts';
import { earlyFeatures, findCut } from '../../onnx/rewrites/early-score.ts';
import { MANIFEST_FORMAT, type Manifest, writeManifest } from '../../registry/manifest.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { encodeWeights, type PruningFacts } from '../../registry/pruning.ts';
import { readVersionFolder, sha256Of } from '../../registry/version-folder.ts';
import { chooseGraph } from '../../registry/version-graph.ts';
import type { VariantPreference } from '../../registry/version-variants.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import type { DataSource } from '../data/data-schema.ts';
import { nothingLeft, type Skips, skipCount } from '../data/list-types.ts';
import { openRaw } from '../data/sources.ts';
import { mapLengthBatches, openRowScorer, scoringBatch } from '../step/row-scorer.ts';
import { openFeatures, type RowFeatures } from './features.ts';
import { fitEarly, type ListFeatures } from './fit-early.ts';
import { kept, marginOf } from './margins.ts';

/** Values of `top_n` that margins are found for; requests with another take the wider margin of its neighbors. */
const COUNTS = [1, 2, 3, 5, 10, 20, 50];
const RECALLS = [0.5, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999];

/** Lists that a calibration needs: fewer say little about the rare misses that a recall of .99 is about. */
const LEAST_LISTS = 20;

interface CalibrationOptions {
  /** Candidate lists. Judgements and labels are not read. */
  readonly data: readonly DataSource[];
  /** Passages of a list, from rank 1. */
  readonly depth: number;
  /** Part of the model that the early score may cost. */
  readonly share: number;
  readonly variant: VariantPreference;
  readonly onLists?: (done: number, total: number) => void;
}

export interface Calibrated {
  readonly facts: PruningFacts;
  readonly passages: number;
  /** For `top_n` 10 or the largest count below: what stays with each recall, in lists whose own scores did not fit the weights. */
  readonly curve: readonly { readonly recall: number; readonly rows: number; readonly found: number }[];
  readonly count: number;
  /** Lists and rows that were not read, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
}

interface TextList {
  readonly query: string;
  readonly passages: readonly string[];
}

/** Reads the lists of a source, each by its first passages. @param counts receives what is left out. */
async function readLists(source: DataSource, depth: number, counts: Skips): Promise<TextList[]> {
  const raw = await openRaw(source, process.cwd());
  const lists: TextList[] = [];
  try {
    for await (const { query, passages } of raw.lists(counts)) {
      const first = passages.slice(0, depth);
      if (first.length > 1) lists.push({ query, passages: first });
      else counts.skip('list of one passage');
    }
  } finally {
    await raw.close();
  }
  return lists;
}

async function scoreList(
  { query, passages }: TextList,
  tools: {
    readonly tokenizer: PairTokenizer;
    readonly pairs: PairOptions;
    readonly scorer: Awaited<ReturnType<typeof openRowScorer>>;
    readonly features: RowFeatures;
  },
): Promise<ListFeatures> {
  const { rows } = await tools.tokenizer.encode(query, passages, tools.pairs);
  if (rows.every(({ ids, secondSegment }) => secondSegment >= ids.length))
    throw new WinnowError('invalid_input', {
      where: tools.tokenizer.folder,
      expected: 'a tokenizer that tells query from passage by token types',
      got: 'one token type',
    });
  const scores = await tools.scorer.score(rows);
  const found = await mapLengthBatches<Float32Array>(rows, (batch) => tools.features.of(batch), scoringBatch());
  return { query, scores, features: found };
}

/** Rounds a margin up, so that the manifest stays small and the recall holds. */
const roundUp = (margin: number): number => Math.ceil(margin * 1e4) / 1e4;

/**
 * Fits the early score of a version's ONNX file on candidate lists, and finds how far it may lie from the score. The file's own scores are the
 * truth; no judgements are read. Every list is measured with weights that were fitted without it.
 * @throws WinnowError `invalid_input` for data and folder, `invalid_graph` where the graph has no place for an early score.
 */
export async function calibratePruning(folder: string, options: CalibrationOptions): Promise<Calibrated> {
  const { data, depth, share, variant, onLists } = options;
  const version = await readVersionFolder(folder);
  if (version.template)
    throw new WinnowError('invalid_input', { where: folder, expected: 'a model of pairs', got: 'one with a template' });
  if (version.encoder)
    throw new WinnowError('invalid_input', {
      where: folder,
      expected:
        'a model that reads query and passage together, whose first layers say which passages the others can leave out',
      got: `${version.isInteraction ? 'an interaction model' : 'a bi-encoder'}, which reads each passage apart from the query`,
    });
  const graph = await chooseGraph(version, variant, 'cpu');
  if (graph.reduction.kind !== 'single')
    throw new WinnowError('invalid_input', { where: folder, expected: 'a model with one score', got: 'classes' });
  const file = join(folder, graph.variant.file);
  const counts = skipCount();
  const lists = (await Promise.all(data.map((source) => readLists(source, depth, counts)))).flat();
  if (lists.length < LEAST_LISTS) {
    const where = data.map(({ path }) => path).join(', ');
    throw nothingLeft(where, `at least ${LEAST_LISTS} lists of two passages or more`, counts.skipped(), lists.length);
  }
  const model = await readModel(file);
  const cut = await findCut(model, share, graph.variant.file);
  const found = await scoreLists(folder, file, lists, {
    graph: await earlyFeatures(model, cut.value),
    pairs: pairsWithin({ ...version.manifest, maxLength: version.maxLength }),
    ...(onLists && { onLists }),
  });
  const fitted = await fitEarly(found);
  const places = COUNTS.filter((n) => fitted.apart.some(({ scores }) => scores.length > n));
  const recalls = RECALLS.filter((recall) => places.every((n) => marginOf(fitted.apart, n, recall) !== undefined));
  const margins = places.map((n) => recalls.map((recall) => roundUp(marginOf(fitted.apart, n, recall)!)));
  const count = places.findLast((n) => n <= 10)!;
  const row = margins[places.indexOf(count)]!;
  const curve = recalls.map((recall, i) => {
    const { rows, recall: reached } = kept(fitted.apart, count, row[i]!);
    return { recall, rows, found: reached };
  });
  const sha256 = await sha256Of(version, graph.variant.file);
  const weights = encodeWeights(fitted.weights);
  const facts = {
    sha256,
    value: cut.value,
    weights,
    counts: places,
    recalls,
    margins,
    share: cut.share,
    lists: lists.length,
  };
  const passages = lists.reduce((sum, list) => sum + list.passages.length, 0);
  return { facts, passages, curve, count, leftOut: counts.skipped() };
}

async function scoreLists(
  folder: string,
  file: string,
  lists: readonly TextList[],
  how: {
    readonly graph: Model;
    readonly pairs: PairOptions;
    readonly onLists?: (done: number, total: number) => void;
  },
): Promise<ListFeatures[]> {
  await using stack = new AsyncDisposableStack();
  const tokenizer = await createLocalTokenizer(folder);
  stack.defer(() => tokenizer.close());
  const { padId } = tokenizer;
  const scorer = await openRowScorer(file, { padId });
  stack.defer(() => scorer.close());
  const features = await openFeatures(how.graph, padId);
  stack.defer(() => features.close());
  const found: ListFeatures[] = [];
  for (const list of lists) {
    found.push(await scoreList(list, { tokenizer, pairs: how.pairs, scorer, features }));
    how.onLists?.(found.length, lists.length);
  }
  return found;
}

/** Writes a calibration into the manifest of a version's folder, in one step. @throws WinnowError `invalid_manifest`. */
export async function writePruning(
  folder: string,
  manifest: Manifest | undefined,
  pruning: PruningFacts,
): Promise<void> {
  await writeManifest(folder, { ...(manifest ?? { format: MANIFEST_FORMAT }), pruning });
}

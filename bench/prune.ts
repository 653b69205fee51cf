import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { plainTable } from '../src/cli/plain-table.ts';
import { loadConfig } from '../src/config/load-config.ts';
import { evaluate, type ScoredDocs } from '../src/evaluation/measures/evaluation.ts';
import { parseMeasures } from '../src/evaluation/measures/measure.ts';
import { candidatesOf } from '../src/evaluation/suites/candidates.ts';
import { expandSets } from '../src/evaluation/suites/set-groups.ts';
import { readSuite } from '../src/evaluation/suites/suite-schema.ts';
import { isLeftOut, openSet } from '../src/evaluation/suites/suite-set.ts';
import { openStack, type Stack } from '../src/main/stack.ts';
import type { ServedVersion } from '../src/registry/registry-types.ts';
import { pruningCurveSvg } from '../src/reports/charts/pruning-curve.ts';
import { pairOptions } from '../src/rerank/pair-settings.ts';
import { prunePlan, survivors } from '../src/rerank/pruning.ts';
import { createScorer } from '../src/rerank/scorer.ts';
import { createMetrics } from '../src/telemetry/instruments.ts';
import { createLogger } from '../src/telemetry/logger.ts';
import type { EncodedRow } from '../src/tokenization/tokenization-types.ts';
import { writeFileAtomic } from '../src/util/files.ts';
import { readFlags } from './load/flags.ts';
import { MODELS } from './load/shipped.ts';

const ABOUT = `
What early pruning saves and what it costs: each set's lists are scored once by the whole model and once by its early score; then the
passages that each recall keeps are ranked by their scores, which pruning does not change.

Prints for each set and recall: the part of the passages that stay; the part of the unpruned first --top-n among them; how many times fewer
tokens are scored, where a token of the early score counts as the part of the model that it runs through; the measure, and its difference
from the unpruned list. Then the engine's time for the first --queries of each set, unpruned and pruned in turns, as a ratio.
`;

const options = readFlags('prune', ABOUT, {
  suite: { type: 'string', default: join(import.meta.dirname, 'suites/prune.yaml'), help: 'Sets, and the model.' },
  models: { type: 'string', default: MODELS, help: 'Registry folder.' },
  model: { type: 'string', default: '', help: 'Model (default: the first of the suite).' },
  'top-n': { type: 'string', default: '10', help: 'Results of a request.' },
  recall: { type: 'string', default: '0.95', help: 'Recall whose engine time is measured.' },
  queries: { type: 'string', default: '20', help: 'Queries of a set whose engine time is measured; 0: none.' },
  picture: { type: 'string', default: '', help: 'SVG file to write.' },
});

const topN = Number(options['top-n']);
const NDCG = parseMeasures('nDCG@10');

/** One list: its passages with scores, early scores and tokens. */
interface List {
  readonly qid: string;
  readonly query: string;
  readonly passages: readonly string[];
  readonly docids: readonly string[];
  readonly scores: Float32Array;
  readonly early: Float32Array;
  readonly tokens: readonly number[];
}

async function scoreList(
  { scheduler, tokenizers }: Stack,
  version: ServedVersion,
  list: Pick<List, 'qid' | 'query' | 'passages' | 'docids'>,
): Promise<List> {
  const tokenizer = await tokenizers.for(version.folder);
  const read = pairOptions({ truncate: true }, version, config.tokenization);
  const { rows } = await tokenizer.encode(list.query, list.passages, read);
  const submit = async (key: string) =>
    (await scheduler.submit({ key, rows: rows as EncodedRow[], lane: 'batch', deadline: Number.POSITIVE_INFINITY }))
      .scores;
  const scores = await submit(version.key);
  const early = await submit(await version.pruning!.load());
  return { ...list, scores, early, tokens: rows.map(({ ids }) => ids.length) };
}

const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);

/** Returns what a margin does to the lists of a set. */
function effect(lists: readonly List[], share: number, margin: number) {
  const run = new Map<string, ScoredDocs>();
  let [staying, tokens, found, first] = [0, 0, 0, 0];
  for (const { qid, docids, scores, early, tokens: lengths } of lists) {
    const stays = docids.length > topN ? survivors(early, topN, margin) : docids.map(() => true);
    const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, topN);
    found += order.filter((i) => stays[i]).length;
    first += order.length;
    staying += stays.filter(Boolean).length;
    tokens += sum(lengths.filter((_, i) => stays[i]));
    const kept = [...docids.keys()].filter((i) => stays[i]);
    run.set(qid, { docids: kept.map((i) => docids[i]!), scores: kept.map((i) => scores[i]!) });
  }
  const all = sum(lists.flatMap((list) => list.tokens));
  const passages = sum(lists.map(({ docids }) => docids.length));
  return { run, rows: staying / passages, found: found / first, fewer: all / (share * all + tokens) };
}

/** Returns the engine's time of pruned requests as a part of that of unpruned ones, in turns. */
async function engineTime(stack: Stack, model: string, lists: readonly List[]): Promise<number> {
  const scorer = createScorer({ ...stack, settings: config.tokenization });
  const run = async (more: object) => {
    const before = process.cpuUsage();
    const start = performance.now();
    for await (const _ of scorer.score(lists, { model, ...more })) void before;
    return performance.now() - start;
  };
  const pruned = { topN, prune: { recall: Number(options.recall) } };
  await run(pruned);
  const ratios: number[] = [];
  for (let round = 0; round < 3; round++) ratios.push((await run(pruned)) / (await run({})));
  return ratios.toSorted((a, b) => a - b)[1]!;
}

const loaded = readSuite(options.suite);
const first = loaded.suite.models[0]!;
const model = options.model || ('model' in first ? first.model : '');
const config = loadConfig(['--models', options.models, '--registry-watch', 'false'], process.env);
const out = mkdtempSync(join(tmpdir(), 'winnow-bench-prune-'));
const metrics = createMetrics();
const stack = await openStack(config, { metrics, logger: createLogger('warn') });
const lease = await stack.registry.acquire(model);
const lines: Parameters<typeof pruningCurveSvg>[0]['lines'][number][] = [];
try {
  const { version } = lease;
  const { pruning } = version;
  if (!pruning) throw new Error(`${version.key} is not calibrated: npx winnow prune ${version.folder} …`);
  const { folder, suite } = loaded;
  for (const spec of await expandSets(suite.sets, folder, () => {})) {
    const set = await openSet(spec, { folder, out, seed: suite.seed, depth: suite.depth });
    if (isLeftOut(set)) {
      process.stdout.write(`${set.what}: left out, ${set.reason}\n`);
      continue;
    }
    const { run } = await candidatesOf(set, { folder, out });
    const lists: List[] = [];
    for (const [qid, query] of set.queries) {
      const docids = run.get(qid)?.docids ?? [];
      const passages = await set.data.passages.texts(docids);
      if (docids.length > 0) lists.push(await scoreList(stack, version, { qid, query, passages, docids }));
    }
    const measure = (found: ReadonlyMap<string, ScoredDocs>) => evaluate(set.qrels, found, NDCG).mean.get('nDCG@10')!;
    const whole = measure(effect(lists, 0, Number.POSITIVE_INFINITY).run);
    const points = [{ fewer: 1, value: whole }];
    const rows = pruning.recalls.toReversed().map((recall) => {
      const passages = new Array<string>(topN + 1).fill('');
      const { margin } = prunePlan({ prune: { recall }, topN, passages }, version);
      const { fewer, found, rows: part, run: kept } = effect(lists, pruning.share, margin!);
      const value = measure(kept);
      points.push({ fewer, value });
      const numbers = [part.toFixed(2), found.toFixed(3), `${fewer.toFixed(2)}x`, value.toFixed(4)];
      return [String(recall), ...numbers, (value - whole).toFixed(4)];
    });
    lines.push({ name: `${set.name}`, points });
    const head = ['recall', 'stay', `first ${topN}`, 'fewer tokens', 'nDCG@10', 'difference'];
    const about = `${set.name}, ${version.key}, ${lists.length} lists, top_n ${topN}, unpruned ${whole.toFixed(4)}`;
    process.stdout.write(`${about}\n${plainTable([head, ...rows])}\n`);
    const some = lists.slice(0, Number(options.queries));
    if (some.length > 0) {
      const ratio = await engineTime(stack, model, some);
      process.stdout.write(
        `time with recall ${options.recall}: ${ratio.toFixed(2)} of that without, ${some.length} lists\n`,
      );
    }
    process.stdout.write('\n');
    await set.data.passages.close();
  }
  if (options.picture && lines.length > 0) await writeFileAtomic(options.picture, await pruningCurveSvg({ lines }));
} finally {
  lease.release();
  await stack.close();
  await metrics.close();
  rmSync(out, { recursive: true, force: true });
}

import { join } from 'node:path';
import { plainTable } from '../src/cli/plain-table.ts';
import { readRun } from '../src/evaluation/formats/run.ts';
import { evaluate, type Run } from '../src/evaluation/measures/evaluation.ts';
import { parseMeasure } from '../src/evaluation/measures/measure.ts';
import { candidatesOf } from '../src/evaluation/suites/candidates.ts';
import { cascadeRun } from '../src/evaluation/suites/cascade.ts';
import { cellFolder } from '../src/evaluation/suites/cells.ts';
import { expandSets } from '../src/evaluation/suites/set-groups.ts';
import { readSuite } from '../src/evaluation/suites/suite-schema.ts';
import { isLeftOut, type OpenSet, openSet } from '../src/evaluation/suites/suite-set.ts';
import { pairsWithin } from '../src/registry/pair-limits.ts';
import { readVersionFolder } from '../src/registry/version-folder.ts';
import { chooseGraph } from '../src/registry/version-graph.ts';
import { costCurveSvg } from '../src/reports/charts/cost-curve.ts';
import { createLocalTokenizer } from '../src/tokenization/local.ts';
import { openRowScorer } from '../src/training/step/row-scorer.ts';
import { writeFileAtomic } from '../src/util/files.ts';
import { median } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { MODELS } from './load/shipped.ts';

const ABOUT = `
What a cascade from a bi-encoder to a cross-encoder reaches for its processor time. Rankings come from the runs of winnow eval; time is
measured here, one thread, both models in turns on the same lists.

Prints the milliseconds that each model takes for a passage, then for each number of passages that the last stage sees: the measure, and the
processor time of a query whose passages are new, and of one whose passages are kept.
`;

const options = readFlags('cascade', ABOUT, {
  suite: { type: 'string', default: join(import.meta.dirname, 'suites/passages.yaml'), help: 'Suite that was run.' },
  out: { type: 'string', default: 'runs/passages', help: 'Its --out folder.' },
  set: { type: 'string', default: 'dl19', help: 'Set of the suite.' },
  models: { type: 'string', default: MODELS, help: 'Registry folder.' },
  first: { type: 'string', default: 'e5-small-v2', help: 'Bi-encoder, version 1.' },
  last: { type: 'string', default: 'minilm-l6-bce', help: 'Cross-encoder, version 1.' },
  blend: {
    type: 'string',
    default: '0.5',
    help: 'How much of the last ranking is the bi-encoder, in one more column.',
  },
  lists: { type: 'string', default: '3', help: 'Lists whose time is measured.' },
  rounds: { type: 'string', default: '5', help: 'Turns of each model.' },
  picture: { type: 'string', default: '', help: 'SVG file to write.' },
});

const KEPT = [0, 5, 10, 20, 30, 50, 75, 100];
/** Padded tokens of a batch, as the server forms them. */
const BATCH = { tokens: 512 };

interface Texts {
  readonly query: string;
  readonly passages: readonly string[];
}

/** Opens a model on one thread. @returns what runs it on a list, and ends it. */
async function openModel(name: string) {
  const folder = join(options.models, name, '1');
  const version = await readVersionFolder(folder);
  const { variant } = await chooseGraph(version, 'auto', 'cpu');
  const tokenizer = await createLocalTokenizer(folder);
  const scorer = await openRowScorer(join(folder, variant.file), { padId: tokenizer.padId }, { threads: 1 });
  const limits = pairsWithin({ ...version.manifest, maxLength: version.maxLength });
  const { encoder } = version;
  return {
    /** Returns the milliseconds of processor time a passage. */
    async time({ query, passages }: Texts): Promise<number> {
      const { rows } = encoder
        ? await tokenizer.encodeTexts(passages, { ...limits, prefix: encoder.passagePrefix })
        : await tokenizer.encode(query, passages, limits);
      const from = process.cpuUsage();
      await scorer.score(rows, BATCH);
      const { user, system } = process.cpuUsage(from);
      return (user + system) / 1000 / passages.length;
    },
    close: () => Promise.all([scorer.close(), tokenizer.close()]),
  };
}

/** Returns the milliseconds a passage of both models, from turns on the same lists. */
async function timesOf(lists: readonly Texts[]): Promise<readonly [first: number, last: number]> {
  const models = [await openModel(options.first), await openModel(options.last)] as const;
  const seen: readonly [number[], number[]] = [[], []];
  for (let round = 0; round < Number(options.rounds); round++)
    for (const list of lists) for (const side of [0, 1] as const) seen[side].push(await models[side].time(list));
  for (const model of models) await model.close();
  return [median(seen[0]), median(seen[1])];
}

async function textsOf({ queries, data }: OpenSet, candidates: Run): Promise<readonly Texts[]> {
  const lists: Texts[] = [];
  for (const [qid, query] of queries) {
    const docids = candidates.get(qid)?.docids ?? [];
    if (docids.length > 0) lists.push({ query, passages: await data.passages.texts(docids) });
    if (lists.length === Number(options.lists)) break;
  }
  return lists;
}

const { suite, folder } = readSuite(options.suite);
const specs = await expandSets(suite.sets, folder, () => {});
const spec = specs.find(({ name }) => name === options.set);
if (!spec) throw new Error(`--set: expected one of ${specs.map(({ name }) => name).join(', ')}, got ${options.set}`);
const { out } = options;
const set = await openSet(spec, { folder, out, seed: suite.seed, depth: suite.depth });
if (isLeftOut(set)) throw new Error(`${set.what}: ${set.reason}`);
const { run: candidates } = await candidatesOf(set, { folder, out });
const runOf = (system: string) => readRun(join(cellFolder(out, set.name, system), 'run.trec.gz'));
const [first, last] = [await runOf(options.first), await runOf(options.last)];
const measure = parseMeasure((spec.measures ?? suite.measures ?? ['nDCG@10'])[0]!);
const measured = (run: Run) => evaluate(set.qrels, run, [measure]).mean.get(measure.name)!;
const [firstMs, lastMs] = await timesOf(await textsOf(set, candidates));
await set.data.passages.close();

const deepest = Math.max(...[...candidates.values()].map(({ docids }) => docids.length));
const points = KEPT.filter((keep) => keep <= deepest).map((keep) => {
  const cascade = (run: Run, blend = 0) =>
    measured(
      keep === 0
        ? cascadeRun(candidates, [{ run }])
        : cascadeRun(candidates, [
            { run, keep },
            { run: last, blend },
          ]),
    );
  return {
    keep,
    cascade: cascade(first),
    blended: cascade(first, Number(options.blend)),
    direct: cascade(candidates),
    ms: keep * lastMs,
  };
});
const readMs = deepest * firstMs;
const line = (name: string, value: 'cascade' | 'blended' | 'direct', ms: number) => ({
  name,
  points: points.map((point) => ({ keep: point.keep, value: point[value], ms: point.ms + ms })),
});
const head = [
  'last stage on',
  `${options.first} first`,
  `blend ${options.blend}`,
  'first stage alone',
  'ms, passages new',
  'ms, passages kept',
];
const rows = points.map(({ keep, cascade, blended, direct, ms }) => [
  String(keep),
  cascade.toFixed(3),
  blended.toFixed(3),
  direct.toFixed(3),
  (ms + readMs).toFixed(0),
  ms.toFixed(0),
]);
process.stdout.write(
  `${set.name}, ${measure.name}; ms of processor time a passage: ${options.first} ${firstMs.toFixed(2)}, ${options.last} ${lastMs.toFixed(2)}\n${plainTable([head, ...rows])}\n`,
);
if (options.picture)
  await writeFileAtomic(
    options.picture,
    await costCurveSvg({
      measure: `${measure.name} on ${set.name}`,
      lines: [
        line(`${options.first} → ${options.last}, passages new`, 'cascade', readMs),
        line(`${options.first} → ${options.last}, passages kept`, 'cascade', 0),
        line(`the same, blend ${options.blend}`, 'blended', 0),
        line(`first stage → ${options.last}`, 'direct', 0),
      ],
    }),
  );

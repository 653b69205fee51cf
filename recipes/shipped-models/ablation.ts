/*
 * Measures what each source of queries adds, and what the head changes: short runs of the small model (start.yaml) with all sources, with each one
 * left out, and with a `pair` head, all of the same steps, measured on the held-out queries.
 *
 *   node recipes/shipped-models/ablation.ts [--steps 400] [--teacher ensemble]
 *
 * Needs the scores of the teacher (`npm run train:models -- --until 'ensemble of wikiqa'`). Finished arms are not repeated, stopped ones go on.
 * Writes runs/shipped-models/ablation/table.md.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { readManifest } from '../../src/registry/manifest.ts';
import { markdownTable } from '../../src/reports/markdown.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { isObject } from '../../src/util/json-files.ts';
import { readYamlFile } from '../../src/util/yaml-file.ts';
import { recipePath, WORK, winnow } from './steps.ts';

const { values: flags } = parseArgs({
  options: { steps: { type: 'string', default: '400' }, teacher: { type: 'string', default: 'ensemble' } },
});
const FOLDER = join(WORK, 'ablation');

type Tree = Readonly<Record<string, unknown>>;
const tree = (value: unknown): Tree => (isObject(value) ? value : {});

/** Returns the name of a source: that of its file, or its format. */
function nameOf(source: Tree): string {
  const path = String(source.path);
  return source.format === 'rank-llm' ? path.replace(/^.*\/|\.jsonl$/g, '') : String(source.format);
}

/** Returns a path as seen from this folder as an absolute one, because the arms' recipes lie elsewhere. */
const absolute = (value: unknown): unknown => (typeof value === 'string' ? join(import.meta.dirname, value) : value);

function sourceOf(source: Tree): Tree {
  const teacher = String(source.teacher).replace(/teacher\.(\w+)\.run$/, `${flags.teacher}.$1.run`);
  const made = Array.isArray(source.madeFrom) ? { madeFrom: source.madeFrom.map(absolute) } : {};
  const qrels = source.qrels === undefined ? {} : { qrels: absolute(source.qrels) };
  return { ...source, ...made, ...qrels, path: absolute(source.path), teacher: absolute(teacher) };
}

const base = tree(readYamlFile(recipePath('start.yaml')).document);
const data = tree(base.data);
const sources = (Array.isArray(data.train) ? data.train : []).map((source) => sourceOf(tree(source)));
const validation = tree(base.validation);
const judged = tree(validation.data);

/** An arm: a name, the sources it is trained on, and its head. */
interface Arm {
  readonly name: string;
  readonly train: readonly Tree[];
  readonly head?: Tree;
}

const arms: readonly Arm[] = [
  { name: 'all', train: sources },
  ...sources.map((one) => ({ name: `without-${nameOf(one)}`, train: sources.filter((source) => source !== one) })),
  { name: 'pair-head', train: sources, head: { pooling: 'pair' } },
];

/** Trains an arm unless it is published, and returns its measure and that of the first stage. */
async function run({ name, train, head }: Arm): Promise<readonly [firstStage: number, tuned: number]> {
  const version = join(FOLDER, 'registry', name, '1');
  if (!existsSync(version)) {
    const steps = Number(flags.steps);
    const recipe = {
      ...base,
      name,
      backbone: absolute(base.backbone),
      head: head ?? base.head,
      data: { ...data, train },
      validation: {
        ...validation,
        data: { ...judged, path: absolute(judged.path), qrels: absolute(judged.qrels) },
        every: steps,
      },
      steps,
      falseNegatives: 0,
      publish: { registry: join(FOLDER, 'registry'), maxLength: 192 },
    };
    const file = join(FOLDER, `${name}.yaml`);
    await writeFileAtomic(file, stringify(recipe));
    winnow('train', file, '--run', join(FOLDER, 'runs', name));
  }
  const measures = tree(tree(tree((await readManifest(version)).training).measures)['nDCG@10']);
  return [Number(measures.firstStage), Number(measures.tuned)];
}

await mkdir(FOLDER, { recursive: true });
const rows: string[][] = [];
let whole: number | undefined;
for (const arm of arms) {
  const [firstStage, tuned] = await run(arm);
  if (whole === undefined) rows.push(['BM25', firstStage.toFixed(4), '']);
  whole ??= tuned;
  rows.push([arm.name, tuned.toFixed(4), arm.name === 'all' ? '' : (tuned - whole).toFixed(4)]);
}
const head = [
  { label: `${flags.steps} steps, held-out queries` },
  { label: 'nDCG@10', numeric: true },
  { label: 'against all', numeric: true },
];
const table = markdownTable(head, rows);
await writeFileAtomic(join(FOLDER, 'table.md'), `${table}\n`);
process.stdout.write(`${table}\n`);

/*
 * Measures what each source of queries adds, and what the head changes: short runs of start.yaml with all sources, with each one left out, and with
 * a head that reads the first token, all of the same steps, measured on the held-out queries and on WikiQA's development part.
 *
 *   node recipes/ensemble-models/ablation.ts [--steps 200]
 *
 * Needs the scores of the teacher (`node recipes/ensemble-models/build.ts --until 'ensemble of wikiqa'`). Finished arms are not repeated, stopped ones go on.
 * Writes runs/ensemble-models/ablation/table.md.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { markdownTable } from '../../src/reports/markdown.ts';
import { CURVE_FILE, isValidation, readCurve } from '../../src/training/run/curve.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { isObject } from '../../src/util/json-files.ts';
import { readYamlFile } from '../../src/util/yaml-file.ts';
import { DATA, winnow } from '../build/steps.ts';
import { recipePath, WORK } from './steps.ts';

const { values: flags } = parseArgs({ options: { steps: { type: 'string', default: '200' } } });
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
  const made = Array.isArray(source.madeFrom) ? { madeFrom: source.madeFrom.map(absolute) } : {};
  const qrels = source.qrels === undefined ? {} : { qrels: absolute(source.qrels) };
  return { ...source, ...made, ...qrels, path: absolute(source.path), teacher: absolute(source.teacher) };
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
  { name: 'first-token-head', train: sources, head: { pooling: 'cls', hidden: true } },
];

const LANGUAGE_SET = 'WikiQA-dev';

/** nDCG@10 of an arm. */
interface Measured {
  readonly heldOut: number;
  readonly wikiqa: number;
}

/** Trains an arm unless it is finished, and returns what its last validation says. */
async function run({ name, train, head }: Arm): Promise<Measured> {
  const steps = Number(flags.steps);
  const folder = join(FOLDER, 'runs', name);
  const last = async () => (await readCurve(join(folder, CURVE_FILE))).findLast(isValidation);
  const isDone = async () => (await last())?.step === steps && existsSync(join(FOLDER, 'registry', name, '1'));
  if (!(await isDone())) {
    const recipe = {
      ...base,
      name,
      backbone: absolute(base.backbone),
      head: head ?? base.head,
      data: { ...data, train },
      validation: {
        ...validation,
        data: { ...judged, path: absolute(judged.path), qrels: absolute(judged.qrels) },
        sets: [{ name: LANGUAGE_SET, data: { format: 'wikiqa', path: join(DATA, 'wikiqa'), split: 'dev' } }],
        every: steps,
      },
      steps,
      falseNegatives: 0,
      publish: { registry: join(FOLDER, 'registry'), maxLength: 192 },
    };
    const file = join(FOLDER, `${name}.yaml`);
    await writeFileAtomic(file, stringify(recipe));
    winnow('train', file, '--run', folder);
  }
  const { value, others } = (await last())!;
  return { heldOut: value, wikiqa: others![`${LANGUAGE_SET} nDCG@10`]! };
}

await mkdir(FOLDER, { recursive: true });
const rows: string[][] = [];
let whole: Measured | undefined;
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
for (const arm of arms) {
  const measured = await run(arm);
  whole ??= measured;
  const against =
    arm.name === 'all' ? ['', ''] : [measured.heldOut - whole.heldOut, measured.wikiqa - whole.wikiqa].map(signed);
  rows.push([arm.name, measured.heldOut.toFixed(3), against[0]!, measured.wikiqa.toFixed(3), against[1]!]);
}
const head = [
  { label: `${flags.steps} steps` },
  { label: 'held-out queries', numeric: true },
  { label: 'against all', numeric: true },
  { label: LANGUAGE_SET, numeric: true },
  { label: 'against all', numeric: true },
];
const table = markdownTable(head, rows);
await writeFileAtomic(join(FOLDER, 'table.md'), `${table}\n`);
process.stdout.write(`${table}\n`);

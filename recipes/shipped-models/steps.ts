import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fetchEncoder } from './encoders.ts';
import { listFile } from './pools.ts';
import { prepare } from './prepare.ts';
import { SOURCES } from './queries.ts';
import { prepareSearched } from './searched.ts';

export const ROOT = resolve(import.meta.dirname, '../..');
export const WORK = join(ROOT, 'runs/shipped-models');
export const DATA = join(ROOT, '../shared/data');
const MINILM = join(ROOT, '../shared/backbones/all-minilm-l6-v2');
/** Where recipes find the encoders: the backbone of the twelve-layer teacher is one of them. */
const ENCODERS = join(WORK, 'encoders');
const VECTORS = join(WORK, 'vectors');
const PREPARED = join(WORK, 'data');

/** Seconds that steps took, a line each time that one ran. */
export const TIMES = join(WORK, 'times.jsonl');

/** A part of the work that is not repeated once its output exists. */
export interface Step {
  readonly name: string;
  /** What shows that it is done. */
  readonly output: string;
  /** Runs it, or goes on where it was stopped. */
  readonly run: () => void | Promise<void>;
  /** The recipe or grid that it trains, for the forecast. */
  readonly recipe?: string;
}

/** Runs a command of this program on this terminal. @throws Error where it fails. */
export function winnow(...args: string[]): void {
  const done = spawnSync(process.execPath, [join(ROOT, 'bin/winnow.mjs'), ...args], { stdio: 'inherit', cwd: ROOT });
  if (done.status !== 0) throw new Error(`winnow ${args.join(' ')} ended with ${done.status ?? done.signal}`);
}

export const recipePath = (name: string): string => join(import.meta.dirname, name);

/** Sources with files of lists, and WikiQA, whose format names its own. */
const LISTED = [...SOURCES, 'wikiqa', 'dl21'] as const;
type Listed = (typeof LISTED)[number];
/** Sources of the objectives' runs, which the twelve-layer model scores: a pass of it over all of them takes as long as those runs. */
const TAUGHT = ['judged', 'questions', 'searched', 'wikiqa', 'dl21'] as const satisfies readonly Listed[];

/** Returns the flags that name the lists of a source; `dl21` are BM25's lists, by whose held-out queries weights are chosen. */
function listFlags(source: Listed): string[] {
  if (source === 'wikiqa') return ['--format', 'wikiqa', '--data', join(DATA, 'wikiqa'), '--split', 'train'];
  const path = source === 'dl21' ? listFile(DATA, 'BM25', 'dl21') : join(PREPARED, 'lists', `${source}.jsonl`);
  return ['--format', 'rank-llm', '--data', path];
}

const TEACHERS = ['e5-small-v2', 'bge-small-en-v1.5', 'all-minilm-l6-v2'] as const;
const folderOf = (teacher: (typeof TEACHERS)[number]): string =>
  teacher === 'all-minilm-l6-v2' ? MINILM : join(ENCODERS, teacher);

const scoreFile = (teacher: string, source: string): string => join(WORK, 'scores', `${teacher}.${source}.run`);

const scoreStep = (teacher: string, source: Listed, flags: readonly string[]): Step => ({
  name: `score ${source} by ${teacher}`,
  output: scoreFile(teacher, source),
  run: () => winnow('score', ...listFlags(source), ...flags, '--out', scoreFile(teacher, source)),
});

/** Scores of the encoders for all lists: vectors are kept, so that a text is embedded once. */
const encoderSteps = (): Step[] =>
  TEACHERS.flatMap((teacher) =>
    LISTED.map((source) => scoreStep(teacher, source, ['--bi-encoder', folderOf(teacher), '--vectors', VECTORS])),
  );

/** Chooses weights of teachers on the held-out queries, then applies them to every one of `sources`: the scores that models learn from. */
function ensembleSteps(name: string, sources: readonly Listed[], files: (source: string) => readonly string[]): Step[] {
  const choice = join(WORK, `${name}.json`);
  const teachers = (source: string): string[] => files(source).flatMap((file) => ['--teacher', file]);
  const out = (source: string): string[] => ['--out', scoreFile(name, source)];
  const judged = ['--qrels', join(PREPARED, 'held-out.qrels'), '--candidates', listFile(DATA, 'BM25', 'dl21')];
  return [
    {
      name: `weights of ${name}`,
      output: choice,
      run: () => winnow('ensemble', ...teachers('dl21'), ...judged, '--choice', choice, ...out('dl21')),
    },
    ...sources
      .filter((source) => source !== 'dl21')
      .map((source) => ({
        name: `${name} of ${source}`,
        output: scoreFile(name, source),
        run: () => winnow('ensemble', ...teachers(source), '--weights', choice, ...out(source)),
      })),
  ];
}

const version = (model: string): string => join(WORK, 'registry', model, '1');

const trainStep = (model: string, file: string): Step => ({
  name: `train ${model}`,
  output: version(model),
  recipe: recipePath(file),
  run: () => winnow('train', recipePath(file), '--run', join(WORK, model)),
});

/** The name of the twelve-layer model, teacher of the others. */
export const LARGE = 'minilm-l12';

/** Returns all steps in their order; the longest training comes first, because the others learn from it. */
export function allSteps(): Step[] {
  const encoders = ['e5-small-v2', 'bge-small-en-v1.5'] as const;
  return [
    ...encoders.map((name) => ({
      name: `fetch ${name}`,
      output: join(ENCODERS, name),
      run: async () => void (await fetchEncoder(ENCODERS, name)),
    })),
    {
      name: 'candidate lists',
      output: join(PREPARED, 'prepared.json'),
      run: () =>
        prepare(
          DATA,
          PREPARED,
          encoders.map((name) => join(ENCODERS, name)),
          VECTORS,
        ),
    },
    {
      name: 'searched queries',
      output: join(PREPARED, 'lists/searched.jsonl'),
      run: () =>
        prepareSearched(
          DATA,
          join(PREPARED, 'lists/searched.jsonl'),
          [join(ENCODERS, encoders[0]), join(ENCODERS, encoders[1])],
          VECTORS,
        ),
    },
    ...encoderSteps(),
    ...ensembleSteps('ensemble', LISTED, (source) => [
      ...TEACHERS.map((teacher) => scoreFile(teacher, source)),
      join(PREPARED, 'splade.run'),
    ]),
    trainStep(`${LARGE}-start`, 'large-start.yaml'),
    trainStep(LARGE, 'large.yaml'),
    trainStep('minilm-l6-start', 'start.yaml'),
    ...TAUGHT.map((source) => scoreStep(LARGE, source, ['--model', LARGE, '--models', join(WORK, 'registry')])),
    ...ensembleSteps('teacher', TAUGHT, (source) => [scoreFile('ensemble', source), scoreFile(LARGE, source)]),
    {
      name: 'train objectives',
      output: join(WORK, 'grid/grid.json'),
      recipe: recipePath('objectives.yaml'),
      run: () => winnow('grid', recipePath('objectives.yaml'), '--run', join(WORK, 'grid')),
    },
  ];
}

/** Runs the steps that are not done. @param last the name of the last one to run; all if absent. */
export async function runSteps(steps: readonly Step[], last?: string): Promise<void> {
  for (const step of steps) {
    if (!existsSync(step.output)) {
      process.stdout.write(`${step.name} → ${relative(ROOT, step.output)}\n`);
      await mkdir(dirname(step.output), { recursive: true });
      const start = performance.now();
      try {
        await step.run();
      } finally {
        // Of a step that is stopped and goes on later, every part has a line.
        const seconds = Math.round((performance.now() - start) / 1000);
        await appendFile(TIMES, `${JSON.stringify({ name: step.name, seconds })}\n`);
      }
    }
    if (step.name === last) return;
  }
}

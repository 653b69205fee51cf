import { join } from 'node:path';
import { ENCODER_NAMES, fetchEncoder } from '../build/encoders.ts';
import { DATA, MINILM, ROOT, type Step, winnow } from '../build/steps.ts';
import { listFile } from './pools.ts';
import { prepare } from './prepare.ts';
import { SOURCES } from './queries.ts';
import { prepareSearched } from './searched.ts';

export const WORK = join(ROOT, 'runs/ensemble-models');
/** Where recipes find the encoders: the backbone of the twelve-layer teacher is one of them. */
const ENCODERS = join(WORK, 'encoders');
export const VECTORS = join(WORK, 'vectors');
const PREPARED = join(WORK, 'data');

/** Seconds that steps took, a line each time that one ran. */
export const TIMES = join(WORK, 'times.jsonl');

export const recipePath = (name: string): string => join(import.meta.dirname, name);

/** Sources with files of lists, and WikiQA, whose format names its own. */
const LISTED = [...SOURCES, 'wikiqa', 'dl21'] as const;
/** Sources of the objectives' runs, which the twelve-layer model scores: a pass of it over all of them takes as long as those runs. */
const TAUGHT = [
  'judged',
  'questions',
  'searched',
  'wikiqa',
  'dl21',
] as const satisfies readonly (typeof LISTED)[number][];

/** Returns the flags that name the lists of a source; `dl21` are BM25's lists, by whose held-out queries weights are chosen. */
function listFlags(source: string): string[] {
  if (source === 'wikiqa') return ['--format', 'wikiqa', '--data', join(DATA, 'wikiqa'), '--split', 'train'];
  const path = source === 'dl21' ? listFile(DATA, 'BM25', 'dl21') : join(PREPARED, 'lists', `${source}.jsonl`);
  return ['--format', 'rank-llm', '--data', path];
}

export const TEACHERS = ['e5-small-v2', 'bge-small-en-v1.5', 'all-minilm-l6-v2'] as const;
const folderOf = (teacher: (typeof TEACHERS)[number]): string =>
  teacher === 'all-minilm-l6-v2' ? MINILM : join(ENCODERS, teacher);

/** Where scores are kept, and what they are made of. */
interface Place {
  /** Scores go into its folder `scores`, weights beside that. */
  readonly folder: string;
  /** Judgements of the queries that weights are chosen by. */
  readonly heldOut: string;
  /** Flags of `winnow score` that name the lists of a source. */
  readonly listFlags: (source: string) => readonly string[];
}

const SHIPPED: Place = { folder: WORK, heldOut: join(PREPARED, 'held-out.qrels'), listFlags };

export const scoreFile = (teacher: string, source: string, folder = WORK): string =>
  join(folder, 'scores', `${teacher}.${source}.run`);

const scoreStep = (teacher: string, source: string, flags: readonly string[], at: Place): Step => ({
  name: `score ${source} by ${teacher}`,
  output: scoreFile(teacher, source, at.folder),
  run: () => winnow('score', ...at.listFlags(source), ...flags, '--out', scoreFile(teacher, source, at.folder)),
});

/** Scores of the encoders for all lists: vectors are kept, so that a text is embedded once. */
export const encoderSteps = (sources: readonly string[], at: Place): Step[] =>
  TEACHERS.flatMap((teacher) =>
    sources.map((source) => scoreStep(teacher, source, ['--bi-encoder', folderOf(teacher), '--vectors', VECTORS], at)),
  );

/** Chooses weights of teachers on the held-out queries, then applies them to every one of `sources`: the scores that models learn from. */
export function ensembleSteps(
  name: string,
  sources: readonly string[],
  files: (source: string) => readonly string[],
  at: Place,
): Step[] {
  const choice = join(at.folder, `${name}.json`);
  const teachers = (source: string): string[] => files(source).flatMap((file) => ['--teacher', file]);
  const out = (source: string): string[] => ['--out', scoreFile(name, source, at.folder)];
  const judged = ['--qrels', at.heldOut, '--candidates', listFile(DATA, 'BM25', 'dl21')];
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
        output: scoreFile(name, source, at.folder),
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

/** Folders of the encoders that are fetched, which find candidates too. */
export const FETCHED_FOLDERS = [join(ENCODERS, ENCODER_NAMES[0]), join(ENCODERS, ENCODER_NAMES[1])] as const;

/** Steps that fetch the encoders. */
export const fetchSteps = (): Step[] =>
  ENCODER_NAMES.map((name) => ({
    name: `fetch ${name}`,
    output: join(ENCODERS, name),
    run: async () => void (await fetchEncoder(ENCODERS, name)),
  }));

/** Returns all steps in their order; the longest training comes first, because the others learn from it. */
export function allSteps(): Step[] {
  return [
    ...fetchSteps(),
    {
      name: 'candidate lists',
      output: join(PREPARED, 'prepared.json'),
      run: () => prepare(DATA, PREPARED, FETCHED_FOLDERS, VECTORS),
    },
    {
      name: 'searched queries',
      output: join(PREPARED, 'lists/searched.jsonl'),
      run: () => prepareSearched(DATA, join(PREPARED, 'lists/searched.jsonl'), FETCHED_FOLDERS, VECTORS),
    },
    ...encoderSteps(LISTED, SHIPPED),
    ...ensembleSteps(
      'ensemble',
      LISTED,
      (source) => [...TEACHERS.map((teacher) => scoreFile(teacher, source)), join(PREPARED, 'splade.run')],
      SHIPPED,
    ),
    trainStep(`${LARGE}-start`, 'large-start.yaml'),
    trainStep(LARGE, 'large.yaml'),
    trainStep('minilm-l6-start', 'start.yaml'),
    ...TAUGHT.map((source) =>
      scoreStep(LARGE, source, ['--model', LARGE, '--models', join(WORK, 'registry')], SHIPPED),
    ),
    ...ensembleSteps('teacher', TAUGHT, (source) => [scoreFile('ensemble', source), scoreFile(LARGE, source)], SHIPPED),
    {
      name: 'train objectives',
      output: join(WORK, 'grid/grid.json'),
      recipe: recipePath('objectives.yaml'),
      run: () => winnow('grid', recipePath('objectives.yaml'), '--run', join(WORK, 'grid')),
    },
  ];
}

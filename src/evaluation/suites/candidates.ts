import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import type { FirstStage } from '../first-stage/first-stage.ts';
import { Bm25Index } from '../first-stage/index/bm25-index.ts';
import { buildIndex } from '../first-stage/index/build-index.ts';
import { searchStage } from '../first-stage/search-endpoint.ts';
import { bm25Stage, runFileStage, runStage } from '../first-stage/stages.ts';
import { prepareRun } from '../formats/dataset.ts';
import type { Run } from '../measures/evaluation.ts';
import { readCell, writeCell } from './cells.ts';
import { FIRST_STAGE, type FirstStageSpec } from './suite-schema.ts';
import { fingerprint, type OpenSet, pathIn } from './suite-set.ts';

/** Candidate lists of a set, with the time they took. */
export interface Candidates {
  readonly name: string;
  readonly run: Run;
  /** Seconds of retrieval; 0 for lists that come with the set or from a run file. */
  readonly seconds: number;
  /** Changes with queries, texts or lists. */
  readonly fingerprint: string;
}

export interface StageContext {
  readonly folder: string;
  readonly out: string;
  /** `Authorization` header for a live search endpoint. */
  readonly authorization?: string | undefined;
}

interface OpenStage {
  readonly stage: FirstStage;
  close(): void;
}

type Bm25Spec = Extract<FirstStageSpec, { bm25: unknown }>['bm25'];

async function indexOf(set: OpenSet, spec: Bm25Spec, { folder, out }: StageContext): Promise<Bm25Index> {
  if (spec.index !== undefined) return new Bm25Index(pathIn(folder, spec.index));
  const path = join(out, 'indexes', `${set.name}-${fingerprint([...set.hashes.keys()]).slice(0, 12)}`);
  if (!existsSync(path)) {
    try {
      await buildIndex(path, set.data.passages.entries());
    } catch (error) {
      // Another shard may have written the index in the meantime.
      if (!existsSync(path)) throw error;
    }
  }
  return new Bm25Index(path);
}

function ownLists(set: OpenSet): Run {
  if (set.data.candidates !== undefined) return set.data.candidates;
  throw new WinnowError('invalid_input', {
    where: `set ${set.name}`,
    expected: 'candidate lists with the set, or another first stage',
    got: 'none',
  });
}

async function openStage(set: OpenSet, spec: FirstStageSpec, context: StageContext): Promise<OpenStage> {
  const close = (): void => undefined;
  if (spec === 'candidates') return { stage: runStage('candidates of the set', ownLists(set)), close };
  if ('run' in spec)
    return { stage: await runFileStage(pathIn(context.folder, spec.run), spec.name ?? spec.run), close };
  if ('search' in spec) return { stage: searchStage({ ...spec.search, authorization: context.authorization }), close };
  const index = await indexOf(set, spec.bm25, context);
  const within = spec.bm25.within === undefined ? undefined : ownLists(set);
  return { stage: bm25Stage(index, spec.bm25, within), close: () => index.close() };
}

const defaultFirstStage = (set: OpenSet): FirstStageSpec =>
  set.data.candidates === undefined ? { bm25: { k1: 0.9, b: 0.4, lengths: 'lucene' } } : 'candidates';

const truncateRun = (run: Run, depth: number): Run =>
  new Map(
    Array.from(run, ([qid, { docids, scores }]) => [
      qid,
      { docids: docids.slice(0, depth), scores: Array.from(scores).slice(0, depth) },
    ]),
  );

const retrieves = (spec: FirstStageSpec): boolean => spec !== 'candidates' && !('run' in spec);

async function retrieve(set: OpenSet, spec: FirstStageSpec, key: string, context: StageContext): Promise<void> {
  const { stage, close } = await openStage(set, spec, context);
  const start = performance.now();
  // One more than needed: the query's own passage is dropped.
  const found = await stage.retrieve(set.queries, set.depth + (set.data.dropSelfHits ? 1 : 0));
  const seconds = retrieves(spec) ? (performance.now() - start) / 1000 : 0;
  close();
  const run = truncateRun(prepareRun(set.data, found), set.depth);
  await writeCell(context.out, set.name, FIRST_STAGE, run, { key, label: stage.name, seconds });
}

/**
 * Returns the candidate lists of a set: those the suite names, else the set's own, else BM25. They are written to the folder of results and
 * read back from there, so that every shard sees the same lists.
 */
export async function candidatesOf(set: OpenSet, context: StageContext): Promise<Candidates> {
  const spec = set.spec.firstStage ?? defaultFirstStage(set);
  const files = [...set.hashes.keys()];
  const key = fingerprint([1, spec, files, [...set.queries], set.depth]);
  const { out } = context;
  const kept = await readCell(out, set.name, FIRST_STAGE, key);
  if (kept === undefined) await retrieve(set, spec, key, context);
  const { run, facts } = kept ?? (await readCell(out, set.name, FIRST_STAGE, key))!;
  const lists = Array.from(set.queries, ([qid, text]) => [qid, text, run.get(qid)?.docids ?? []]);
  return { name: facts.label, run, seconds: facts.seconds, fingerprint: fingerprint([files, lists]) };
}

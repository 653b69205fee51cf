import { WinnowError } from '../errors.ts';
import type { JobResult } from '../scheduling/scheduling-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import type { EncodedRequest, PairOptions, PairTokenizer } from '../tokenization/tokenization-types.ts';
import { renumberRow } from '../util/row-errors.ts';
import { checkScores } from './ranking.ts';
import type { MissingTask, ScoredRow, ScoringDeps } from './scoring-types.ts';

/**
 * Runs `work` with the tokenizer of a task's version and the options that its texts are read with. A refusal names the exact length; where
 * passages may be cut, only what is kept is read.
 * @returns what `work` returns, and how long it took.
 */
export async function tokenizing<T>(
  { tokenizers, scheduler, clock }: ScoringDeps,
  { version, request, options, scope }: Pick<MissingTask, 'version' | 'request' | 'options' | 'scope'>,
  work: (tokenizer: PairTokenizer, read: PairOptions) => Promise<T>,
): Promise<{ readonly encoded: T; readonly tokenizeMs: number }> {
  const { subject, lane, isCheck, truncate } = request;
  const share = subject?.key === undefined ? {} : { share: subject.key };
  const read = { ...options, exactLengths: !truncate, ...share };
  const startedAt = clock.now();
  try {
    const encoded = await tokenizers.use(version, (tokenizer) => work(tokenizer, read));
    return { encoded, tokenizeMs: clock.now() - startedAt };
  } catch (error) {
    // Given up before the scheduler knew of it, which would have counted its rows.
    if (scope.signal.aborted && lane !== 'shadow' && !isCheck) scheduler.demand.noteUnread();
    throw error;
  }
}

/** @throws WinnowError `passage_too_long` where the model's length cut a pair. What the request's own limits cut is what was asked for. */
export function checkLengths(
  { overLength, fullLengths }: EncodedRequest,
  { version, options, missing }: Pick<MissingTask, 'version' | 'options' | 'missing'>,
): void {
  const limit = version.maxLength;
  const i = overLength.indexOf(true);
  if (i < 0 || options.maxLength < limit) return;
  throw new WinnowError('passage_too_long', { limit, got: fullLengths[i]!, field: `passages[${missing[i]}]` });
}

/**
 * Submits rows of a task. Returns what the graph gives for each.
 * @param placeOf Returns the place in the request of the passage of a row, which errors name; undefined for the query's.
 * @throws WinnowError of the scheduler; `not_a_number`.
 */
export async function submitRows(
  deps: ScoringDeps,
  { version, request, scope }: Pick<MissingTask, 'version' | 'request' | 'scope'>,
  rows: readonly ScoredRow[],
  placeOf: (row: number) => number | undefined,
  key = version.key,
): Promise<JobResult> {
  const { lane, priority, signal, subject, isCheck } = request;
  try {
    const result = await deps.scheduler.submit({
      key,
      rows,
      lane,
      deadline: scope.deadline,
      ...(subject?.key === undefined ? {} : { share: subject.key }),
      ...(priority === undefined ? {} : { priority }),
      ...(signal === undefined ? {} : { signal }),
      ...(isCheck ? { isCheck } : {}),
    });
    checkScores(result.scores, rows.length);
    return result;
  } catch (error) {
    throw renumberRow(error, placeOf);
  }
}

/**
 * Runs rows by a graph of the hosts and returns one score for each passage.
 * @param places of the passages in the request, which errors name.
 * @throws WinnowError of the scheduler; `not_a_number`.
 */
export async function runRows(
  deps: ScoringDeps,
  task: MissingTask,
  { rows, passageOf }: Pick<EncodedRequest, 'rows' | 'passageOf'>,
  places: readonly number[],
  key?: string,
): Promise<JobResult> {
  const { longPassages } = task.options;
  const result = await submitRows(deps, task, rows, (row) => places[passageOf[row]!], key);
  if (longPassages === 'truncate') return result;
  return { ...result, scores: poolWindows(result.scores, passageOf, places.length, longPassages) };
}

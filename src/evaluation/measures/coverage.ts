/** Which queries of the judgements and of the run took part in an evaluation. */
export interface Coverage {
  /** Judged queries, over which the mean is computed. */
  readonly judged: readonly string[];
  /** Judged queries that the run leaves out; each counts 0. */
  readonly missing: readonly string[];
  /** Queries of the run without judgements; they are ignored. */
  readonly unjudged: readonly string[];
  /** Judged queries without a document of grade 1 or above; their binary measures are 0 whatever the run. */
  readonly withoutRelevant: readonly string[];
}

const SHOWN = 5;

/** Lists ids for a message, the first few of many. */
export const someIds = (ids: readonly string[]): string =>
  `${ids.slice(0, SHOWN).join(', ')}${ids.length > SHOWN ? ', …' : ''}`;

const counted = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;

/** Returns whether the run has at least one judged query. */
export const sharesQueries = ({ judged, missing }: Coverage): boolean => missing.length < judged.length;

/**
 * Returns a line for each kind of query that is not simply measured, with counts and ids.
 *
 * @param run name of the run. @param qrels name of the judgements. @param empty queries that the qrels name without a judgement.
 */
export function coverageNotes(coverage: Coverage, run: string, qrels: string, empty: readonly string[]): string[] {
  const { judged, missing, unjudged, withoutRelevant } = coverage;
  const notes: string[] = [];
  const add = (ids: readonly string[], text: (count: string) => string): void => {
    if (ids.length > 0) notes.push(`${text(counted(ids.length, 'query', 'queries'))}: ${someIds(ids)}`);
  };
  add(empty, (count) => `${qrels}: ${count} without a judgement, ignored`);
  if (sharesQueries(coverage)) {
    add(missing, (count) => `${run}: ${count} of ${judged.length} judged not in the run, counted as 0`);
    add(unjudged, (count) => `${run}: ${count} of the run not judged, ignored`);
  } else
    notes.push(
      `warning: ${run} has no query of ${qrels}, so nothing was measured: the run has ` +
        `${unjudged.length > 0 ? someIds(unjudged) : 'no queries'}; judged are ${someIds(judged)}`,
    );
  add(withoutRelevant, (count) => `${qrels}: ${count} without a document of grade 1 or above, counted`);
  return notes;
}

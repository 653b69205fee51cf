/** What was repaired in an answer. */
interface Repairs {
  readonly missing: number;
  readonly repeated: number;
  readonly outOfRange: number;
}

/** A ranking of the passages shown. */
interface Ranking {
  /** Places from 0, each once, best first. */
  readonly order: readonly number[];
  readonly repairs: Repairs;
}

/** Removes the reasoning of models that print it; passages named there are not the answer. */
const afterThinking = (answer: string): string => answer.replace(/^[\s\S]*<\/think>/i, '');

function numbersIn(answer: string): number[] {
  const bracketed = [...answer.matchAll(/\[\s*(\d+)\s*\]/g)];
  const found = bracketed.length > 0 ? bracketed : [...answer.matchAll(/(\d+)/g)];
  return found.map((match) => Number(match[1]));
}

/**
 * Parses the ranking of an answer such as `[2] > [1] > [3]`. Repeated numbers count once, unknown ones are dropped, and missing passages
 * follow in the order in which they were shown, so that the ranking is complete.
 * @param count passages shown, numbered from 1.
 * @returns undefined where the answer names no passage.
 */
export function readRanking(answer: string, count: number): Ranking | undefined {
  const named = numbersIn(afterThinking(answer));
  const known = named.filter((id) => id >= 1 && id <= count);
  if (known.length === 0) return undefined;
  const once = [...new Set(known)];
  const rest = Array.from({ length: count }, (_, i) => i + 1).filter((id) => !once.includes(id));
  return {
    order: [...once, ...rest].map((id) => id - 1),
    repairs: { missing: rest.length, repeated: known.length - once.length, outOfRange: named.length - known.length },
  };
}

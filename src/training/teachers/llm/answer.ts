/** What had to be mended in an answer. */
interface Repairs {
  readonly missing: number;
  readonly repeated: number;
  readonly outOfRange: number;
}

interface Ranking {
  /** Places from 0, each once, best first. */
  readonly order: readonly number[];
  readonly repairs: Repairs;
}

/** Models that think aloud name passages while they do; only what comes after it is the answer. */
const afterThinking = (answer: string): string => answer.replace(/^[\s\S]*<\/think>/i, '');

function numbersIn(answer: string): number[] {
  const bracketed = [...answer.matchAll(/\[\s*(\d+)\s*\]/g)];
  const found = bracketed.length > 0 ? bracketed : [...answer.matchAll(/(\d+)/g)];
  return found.map((match) => Number(match[1]));
}

/**
 * The ranking an answer such as `[2] > [1] > [3]` stands for. Numbers named twice count where they come first, unknown ones are dropped,
 * and those left out follow in the order they were shown in, so that every answer gives a whole ranking.
 * @param count passages shown, numbered from 1.
 * @returns nothing where the answer names not a single passage.
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

/** A question somebody asked inside a passage, and the passage without it, which mostly answers it. */
export interface Asked {
  readonly question: string;
  readonly docid: string;
  readonly rest: string;
}

/** A sentence that starts like a question and ends like one, of a query's length. */
const QUESTION = /(?<=^|[\s"“(])(?:What|How|Who|When|Where|Why|Which|Is|Are|Can|Does|Do|Did)\s[^.?!\n]{8,90}\?/g;
/** Words that point at a text the reader does not have. */
const DANGLING =
  /\b(?:this|that|these|those|it|its|he|she|they|them|his|her|their|you think|we|us|our|anyone|somebody)\b/i;
const LEAST_WORDS = 3;
const LEAST_REST = 15;

const words = (text: string): number => text.split(/\s+/).filter(Boolean).length;

/**
 * Questions that passages ask themselves: queries in the language of the collection, for which nobody has to be asked. The same question is
 * taken once. Questions are left out that cannot be understood alone, or that leave no answer behind.
 */
export function findAsked(passages: ReadonlyMap<string, string>): Asked[] {
  const found = new Map<string, Asked>();
  for (const [docid, text] of passages)
    for (const [question] of text.matchAll(QUESTION)) {
      const rest = text.replaceAll(question, ' ').replace(/\s+/g, ' ').trim();
      const key = question.toLowerCase();
      if (found.has(key) || DANGLING.test(question)) continue;
      if (words(question) < LEAST_WORDS || words(rest) < LEAST_REST) continue;
      found.set(key, { question, docid, rest });
    }
  return [...found.values()];
}

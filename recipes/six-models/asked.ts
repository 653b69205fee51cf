/** A question taken out of a passage, and what is left of the passage, which mostly answers it. */
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

/** A passage that begins by saying what something is: up to four words, then the verb and an article. */
const DEFINITION =
  /^(?:An?\s|The\s)?([A-Za-z][A-Za-z'-]{2,20}(?:\s[A-Za-z'-]{2,20}){0,3})\s(?:is|are|refers to|means)\s(?:an?|the|any|defined)\s/;
/** Words that begin no thing one would look up. */
const NO_THING =
  /^(?:what|who|when|where|why|how|there|here|another|although|whether|some|many|most|each|one|both|all|so|but|and|if|my|your|so|perhaps|attached|part)\b|\b(?:which|who|what|does|is|are)$/i;
/** How people look a thing up. */
const LOOK_UP = [
  (thing: string) => `what is ${thing}`,
  (thing: string) => `define ${thing}`,
  (thing: string) => `${thing} definition`,
  (thing: string) => `what does ${thing} mean`,
] as const;

/** Queries for things that passages define in their first sentence; each thing once, in the ways people ask in turn. */
export function findDefined(passages: ReadonlyMap<string, string>): Asked[] {
  const found = new Map<string, Asked>();
  for (const [docid, text] of passages) {
    const thing = DEFINITION.exec(text)?.[1]?.toLowerCase();
    if (thing === undefined || found.has(thing) || DANGLING.test(thing) || NO_THING.test(thing)) continue;
    if (words(text) < LEAST_REST) continue;
    found.set(thing, { question: LOOK_UP[found.size % LOOK_UP.length]!(thing), docid, rest: text });
  }
  return [...found.values()];
}

/** A query made from a passage, and the text that answers it: the passage without the question. */
export interface PassageQuery {
  readonly question: string;
  readonly docid: string;
  readonly rest: string;
}

/** A sentence that starts and ends like a question and is as long as a query. */
const QUESTION = /(?<=^|[\s"“(])(?:What|How|Who|When|Where|Why|Which|Is|Are|Can|Does|Do|Did)\s[^.?!\n]{8,90}\?/g;
/** Words that refer to text outside the question. */
const CONTEXT_WORDS =
  /\b(?:this|that|these|those|it|its|he|she|they|them|his|her|their|you think|we|us|our|anyone|somebody)\b/i;
const LEAST_WORDS = 3;
const LEAST_REST = 15;

const words = (text: string): number => text.split(/\s+/).filter(Boolean).length;

/**
 * Finds questions inside passages, which serve as queries in the language of the collection. Equal questions are taken once. Questions that
 * depend on their context, or that leave no answer in the passage, are left out.
 */
export function findQuestions(passages: ReadonlyMap<string, string>): PassageQuery[] {
  const found = new Map<string, PassageQuery>();
  for (const [docid, text] of passages)
    for (const [question] of text.matchAll(QUESTION)) {
      const rest = text.replaceAll(question, ' ').replace(/\s+/g, ' ').trim();
      const key = question.toLowerCase();
      if (found.has(key) || CONTEXT_WORDS.test(question)) continue;
      if (words(question) < LEAST_WORDS || words(rest) < LEAST_REST) continue;
      found.set(key, { question, docid, rest });
    }
  return [...found.values()];
}

/** A passage that begins with a definition: up to four words, then the verb and an article. */
const DEFINITION =
  /^(?:An?\s|The\s)?([A-Za-z][A-Za-z'-]{2,20}(?:\s[A-Za-z'-]{2,20}){0,3})\s(?:is|are|refers to|means)\s(?:an?|the|any|defined)\s/;
/** Words that do not begin or end a term. */
const NOT_A_TERM =
  /^(?:what|who|when|where|why|how|there|here|another|although|whether|some|many|most|each|one|both|all|so|but|and|if|my|your|so|perhaps|attached|part)\b|\b(?:which|who|what|does|is|are)$/i;
/** Forms of queries for a definition. */
const DEFINITION_QUERIES = [
  (term: string) => `what is ${term}`,
  (term: string) => `define ${term}`,
  (term: string) => `${term} definition`,
  (term: string) => `what does ${term} mean`,
] as const;

/** Makes queries for terms that passages define in their first sentence; each term once, in alternating forms. */
export function findDefinitions(passages: ReadonlyMap<string, string>): PassageQuery[] {
  const found = new Map<string, PassageQuery>();
  for (const [docid, text] of passages) {
    const term = DEFINITION.exec(text)?.[1]?.toLowerCase();
    if (term === undefined || found.has(term) || CONTEXT_WORDS.test(term) || NOT_A_TERM.test(term)) continue;
    if (words(text) < LEAST_REST) continue;
    found.set(term, { question: DEFINITION_QUERIES[found.size % DEFINITION_QUERIES.length]!(term), docid, rest: text });
  }
  return [...found.values()];
}

/** A message of a chat, in the format of OpenAI-compatible endpoints. */
export interface Message {
  readonly role: 'system' | 'user';
  readonly content: string;
}

const SYSTEM =
  'You judge search results. You are shown a query and numbered passages, and you order the passages by how well each one answers the query.';

/** Cuts a text to `words` words and replaces [1] by (1), which would look like the number of a passage. */
const plain = (text: string, words: number): string =>
  text
    .replace(/\[(\d+)\]/g, '($1)')
    .split(/\s+/)
    .filter(Boolean)
    .slice(0, words)
    .join(' ');

/** Returns whether the prompt leaves out words of a text. */
export const isCut = (text: string, words: number): boolean => text.split(/\s+/).filter(Boolean).length > words;

/** Returns the messages that ask for the order of passages. Texts are cut after `words` words. */
export function rankingPrompt(query: string, passages: readonly string[], words: number): Message[] {
  const shown = passages.map((passage, i) => `[${i + 1}] ${plain(passage, words)}`).join('\n\n');
  const task = [
    `Query: ${plain(query, words)}`,
    `Passages:\n\n${shown}`,
    `Put all ${passages.length} passages in order, the one that answers the query best first. A passage that only shares words with the query goes below one that answers it.`,
    'Answer with one line of numbers in brackets joined by ">", each number exactly once and nothing else. The form is [2] > [3] > [1].',
  ];
  return [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: task.join('\n\n') },
  ];
}

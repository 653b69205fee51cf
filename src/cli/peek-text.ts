import type { Peek } from '../training/run/peek.ts';
import { leftOutText } from './data-flags.ts';
import { plainTable } from './plain-table.ts';

/** Characters of a text in the table. */
const SHOWN = 72;

/** Returns the start of a text on one line. */
function shortened(text: string, most = SHOWN): string {
  const line = text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim();
  return [...line].length > most ? `${[...line].slice(0, most - 1).join('')}…` : line;
}

const readsOf = ({ objective, reads }: Peek): string => {
  const read = [...(reads.relevance ? ['target'] : []), ...(reads.teacher ? ['teacher'] : [])];
  return `${objective} reads ${read.join(' and ')}`;
};

/** Formats lists for people: a table each, texts cut to the width of a line. */
export function peekText(peek: Peek): string {
  const lists = peek.batches.flatMap(({ step, microBatch, lists }) =>
    lists.map(({ query, passages, queryTokensCut }, i) => {
      const place = `step ${step}, micro-batch ${microBatch}, list ${i + 1}`;
      const cut = queryTokensCut > 0 ? ` (${queryTokensCut} tokens cut)` : '';
      const rows = passages.map(({ target, teacher, repeats, tokens, tokensCut, text }) => [
        target === undefined ? '–' : String(target),
        teacher === undefined ? '–' : String(teacher),
        String(repeats),
        String(tokens),
        String(tokensCut),
        shortened(text),
      ]);
      const table = plainTable([['target', 'teacher', 'repeats', 'tokens', 'cut', 'passage'], ...rows]);
      return `${place}: ${shortened(query)}${cut}\n${table}\n`;
    }),
  );
  return [`${peek.name}: ${readsOf(peek)}${leftOutText(peek.leftOut)}\n`, ...lists].join('\n');
}

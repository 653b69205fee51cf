import type { Peek } from '../training/run/peek.ts';
import { leftOutText, shortPlace } from './data-flags.ts';
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
      const weighted = passages.some(({ weight }) => weight !== undefined);
      const rows = passages.map(({ target, teacher, weight, repeats, tokens, tokensCut, text }) => [
        target === undefined ? '–' : String(target),
        teacher === undefined ? '–' : String(teacher),
        ...(weighted ? [String(weight)] : []),
        String(repeats),
        String(tokens),
        String(tokensCut),
        shortened(text),
      ]);
      const head = ['target', 'teacher', ...(weighted ? ['weight'] : []), 'repeats', 'tokens', 'cut', 'passage'];
      const table = plainTable([head, ...rows]);
      return `${place}: ${shortened(query)}${cut}\n${table}\n`;
    }),
  );
  const notes = peek.notes.map((note) => `${shortPlace(note)}\n`);
  return [`${peek.name}: ${readsOf(peek)}${leftOutText(peek.leftOut, peek.firstLeftOut)}\n`, ...notes, ...lists].join(
    '\n',
  );
}

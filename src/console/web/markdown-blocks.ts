/*
 * Parses the Markdown that model cards use: headings, paragraphs, lists, tables, code. The result is a tree, never HTML, so that nothing in a
 * card can run. All functions are pure.
 */

export type Block =
  | { readonly kind: 'heading'; readonly level: number; readonly text: string }
  | { readonly kind: 'paragraph'; readonly text: string }
  | { readonly kind: 'code'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly string[] }
  | { readonly kind: 'table'; readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] };

export interface Span {
  readonly kind: 'text' | 'code' | 'strong' | 'em';
  readonly text: string;
}

const SPAN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|!\[[^\]]*\]\([^)]*\)|\[([^\]]+)\]\([^)]*\)/g;

/** Splits a line at its inline marks. Links keep their text; pictures are dropped (the page shows the curve itself). */
export function spansOf(line: string): readonly Span[] {
  const spans: Span[] = [];
  let at = 0;
  const push = (kind: Span['kind'], text: string | undefined) => {
    if (text) spans.push({ kind, text });
  };
  for (const match of line.matchAll(SPAN)) {
    push('text', line.slice(at, match.index));
    push('code', match[1]);
    push('strong', match[2]);
    push('em', match[3]);
    push('text', match[4]);
    at = match.index + match[0].length;
  }
  push('text', line.slice(at));
  return spans;
}

const cells = (line: string): readonly string[] =>
  line
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|'));

const isRule = (line: string | undefined): boolean =>
  line !== undefined && /^\s*\|?[\s:|-]*-[\s:|-]*$/.test(line) && line.includes('|');
const isItem = (line: string): boolean => /^\s*([-*+]|\d+\.)\s+/.test(line);

/** Counts the consecutive lines from `at` on that fit. */
function countWhile(lines: readonly string[], at: number, fits: (line: string) => boolean): number {
  let end = at;
  while (end < lines.length && fits(lines[end]!)) end++;
  return end - at;
}

interface ReadBlock {
  readonly block?: Block;
  readonly lines: number;
}

function readCode(lines: readonly string[], at: number): ReadBlock {
  const inside = countWhile(lines, at + 1, (line) => !line.startsWith('```'));
  return { block: { kind: 'code', text: lines.slice(at + 1, at + 1 + inside).join('\n') }, lines: inside + 2 };
}

function readTable(lines: readonly string[], at: number): ReadBlock {
  const rows = countWhile(lines, at + 2, (line) => line.includes('|'));
  const body = lines.slice(at + 2, at + 2 + rows).map(cells);
  return { block: { kind: 'table', head: cells(lines[at]!), rows: body }, lines: rows + 2 };
}

function readList(lines: readonly string[], at: number): ReadBlock {
  const length = countWhile(lines, at, (line) => isItem(line) || /^\s+\S/.test(line));
  const items: string[] = [];
  for (const line of lines.slice(at, at + length))
    if (isItem(line)) items.push(line.replace(/^\s*([-*+]|\d+\.)\s+/, ''));
    else items.push(`${items.pop() ?? ''} ${line.trim()}`.trim());
  return { block: { kind: 'list', items }, lines: length };
}

function readBlock(lines: readonly string[], at: number): ReadBlock {
  const line = lines[at]!;
  if (line.trim() === '') return { lines: 1 };
  if (line.startsWith('```')) return readCode(lines, at);
  const heading = /^(#{1,6})\s+(.*)$/.exec(line);
  if (heading) return { block: { kind: 'heading', level: heading[1]!.length, text: heading[2]! }, lines: 1 };
  if (line.includes('|') && isRule(lines[at + 1])) return readTable(lines, at);
  if (isItem(line)) return readList(lines, at);
  const more = countWhile(
    lines,
    at + 1,
    (next) => next.trim() !== '' && !/^(#{1,6}\s|```)/.test(next) && !isItem(next),
  );
  return { block: { kind: 'paragraph', text: lines.slice(at, at + 1 + more).join(' ') }, lines: more + 1 };
}

/** Parses a text into blocks, without its YAML front matter. */
export function blocksOf(text: string): readonly Block[] {
  const lines = text.replace(/^---\r?\n[\s\S]*?\n---\r?\n/, '').split(/\r?\n/);
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; ) {
    const { block, lines: used } = readBlock(lines, at);
    if (block) blocks.push(block);
    at += used;
  }
  return blocks;
}

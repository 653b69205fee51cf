import { WinnowError } from '../../errors.ts';
import { badLine } from '../../util/text.ts';
import { lineAt, type TaggedPiece, taggedPieces } from './tagged-text.ts';
import { FIELD_NAMES, queryOf, type TopicField } from './topic-fields.ts';

/** A topic: its number, and its parts by tag. */
interface Topic {
  readonly attributes: ReadonlyMap<string, string>;
  readonly parts: Map<string, string[]>;
  /** Text outside the parts: topics of the Clinical Trials tracks have no other. */
  own: string;
  readonly at: number;
}

const TOPICS: ReadonlySet<string> = new Set(['top', 'topic', 'query']);
const ID_NAMES = ['number', 'num', 'id', 'identifier', 'qid', 'topicid', 'topic_id', 'query_id'];

/** Tags that end a part which has no closing tag; others, such as `<b>`, belong to it. */
const SECTIONS: ReadonlySet<string> = new Set([
  ...ID_NAMES,
  ...Object.values(FIELD_NAMES).flat(),
  ...['head', 'dom', 'smry', 'con', 'fac', 'def', 'nat', 'querytime', 'querytweettime'],
]);

const LABELS = /^(?:Number|Topic|Description|Narrative)\s*:/i;
const MOST_DEPTH = 100;

/** Returns a part without the label that TREC writes in front of it and with single spaces. */
const plain = (text: string): string => text.trim().replace(LABELS, '').replace(/\s+/g, ' ').trim();

/** Returns the name of a tag without the language that CLEF writes in front of it: `en-title`. */
const withoutLanguage = (name: string): string => name.replace(/^[a-z]{2}-(?=(?:title|desc|narr|num)$)/, '');

/** Returns the opening tags of a topic that have a closing one; the others run to the next tag of a part. */
function closedTags(pieces: readonly TaggedPiece[]): Set<TaggedPiece> {
  const waiting = new Map<string, TaggedPiece[]>();
  const closed = new Set<TaggedPiece>();
  for (const piece of pieces) {
    const open = waiting.get(piece.name) ?? [];
    waiting.set(piece.name, open);
    if (piece.kind === 'open' && !piece.empty) open.push(piece);
    const opened = piece.kind === 'close' ? open.pop() : undefined;
    if (opened) closed.add(opened);
  }
  return closed;
}

/** Gathers the parts of a topic: the text below each of its own tags, nested tags included. */
function topicOf(head: TaggedPiece, inner: readonly TaggedPiece[]): Topic {
  const topic: Topic = { attributes: head.attributes, parts: new Map(), own: '', at: head.at };
  const closed = closedTags(inner);
  let part: { readonly tag: string; readonly name: string; readonly until: boolean; depth: number } | undefined;
  const append = (text: string): void => {
    if (part === undefined) topic.own += text;
    else topic.parts.get(part.name)!.push(text);
  };
  for (const piece of inner) {
    const until = part?.until === true;
    if (piece.kind === 'text') append(piece.text);
    else if (part !== undefined && until) {
      if (piece.name === part.tag) part.depth += piece.kind === 'close' ? -1 : piece.empty ? 0 : 1;
      if (part.depth === 0) part = undefined;
      else append(' ');
    } else if (part !== undefined && !SECTIONS.has(withoutLanguage(piece.name))) append(' ');
    else if (piece.kind === 'open') {
      const name = withoutLanguage(piece.name);
      const texts = topic.parts.get(name) ?? [];
      topic.parts.set(name, texts);
      const label = piece.attributes.get('name');
      texts.push(texts.length > 0 ? ' ' : '', label === undefined ? '' : `${label}: `);
      part = piece.empty ? undefined : { tag: piece.name, name, until: closed.has(piece), depth: 1 };
    } else part = undefined;
  }
  return topic;
}

const partOf = (topic: Topic, name: string): string => plain(topic.parts.get(name)?.join('') ?? '');

/** Returns the whole text of a topic that has no parts, or only the fields of a template. */
function wholeOf(topic: Topic): string {
  const others = [...topic.parts.keys()].filter((name) => !ID_NAMES.includes(name));
  if (others.length === 0) return plain(topic.own);
  return others.length === 1 && others[0] === 'field' ? partOf(topic, 'field') : '';
}

const TAG_LIST = [
  'number as attribute, <num>, <number> or <id>',
  ...Object.entries(FIELD_NAMES).map(([field, names]) => `${field} ${names.map((name) => `<${name}>`).join(', ')}`),
].join('; ');

const idOf = (topic: Topic): string =>
  [
    ...ID_NAMES.map((name) => topic.attributes.get(name)?.trim() ?? ''),
    ...ID_NAMES.map((name) => partOf(topic, name)),
  ].find((id) => id !== '') ?? '';

/** Checks that the tags of an XML text are closed in the order in which they are opened. */
function checkNesting(pieces: readonly TaggedPiece[], fail: Fail): void {
  const open: TaggedPiece[] = [];
  for (const piece of pieces) {
    if (piece.kind === 'open' && !piece.empty) open.push(piece);
    if (piece.kind === 'close') {
      const last = open.pop();
      if (last?.name !== piece.name) fail(piece.at, last ? `</${last.name}>` : 'an opening tag', `</${piece.name}>`);
    }
    if (open.length > MOST_DEPTH) fail(piece.at, `at most ${MOST_DEPTH} tags inside each other`, 'more');
  }
  const last = open.at(-1);
  if (last) fail(last.at, `</${last.name}> for <${last.name}>`, 'none');
}

type Fail = (at: number, expected: string, got: string) => never;

/** Yields the topics of a text: what stands between `<top>`, `<topic>` or `<query>` and its closing tag. */
function* topicsOf(pieces: readonly TaggedPiece[], fail: Fail): Generator<Topic> {
  let head: TaggedPiece | undefined;
  let inner: TaggedPiece[] = [];
  for (const piece of pieces) {
    if (head === undefined) {
      if (piece.kind === 'open' && TOPICS.has(piece.name) && !piece.empty) [head, inner] = [piece, []];
    } else if (piece.name !== head.name) inner.push(piece);
    else if (piece.kind === 'open') fail(piece.at, `</${head.name}> before the next <${head.name}>`, 'none');
    else {
      yield topicOf(head, inner);
      head = undefined;
    }
  }
  if (head) fail(head.at, `</${head.name}> after <${head.name}>`, 'none');
}

/** Returns whether a text is topics in SGML: `<top>`, whose tags may stay open. XML is read strictly. */
const isSgml = (text: string): boolean => !/^\s*<\?xml/.test(text) && /<top[\s>]/i.test(text);

/**
 * Parses topics with tags: XML (`<topic number="1"><query>`, as of TREC's COVID, Clinical Trials, Precision Medicine and Web tracks) and
 * SGML without closing tags (`<top> <num> Number: 301 <title>`, as Robust04 has it).
 *
 * @returns query id → text of the field.
 * @throws WinnowError `invalid_input` with file and line: damaged XML, a topic without number or without the field, one that comes twice.
 */
export function parseTaggedTopics(text: string, path: string, field: TopicField): Map<string, string> {
  const fail: Fail = (at, expected, got) => {
    throw badLine(path, lineAt(text, at), expected, got);
  };
  const strict = !isSgml(text);
  const pieces = [...taggedPieces(text, { path, strict })];
  if (strict) checkNesting(pieces, fail);
  const queries = new Map<string, string>();
  for (const topic of topicsOf(pieces, fail)) {
    const id = idOf(topic);
    const query = queryOf({ part: (name) => partOf(topic, name), whole: wholeOf(topic) }, field);
    if (id === '' || query === '') {
      const found = [...topic.parts.keys()].map((name) => `<${name}>`).join(', ');
      fail(topic.at, `a topic with <num> and ${field} (tags that are read: ${TAG_LIST})`, found || 'one without tags');
    }
    if (queries.has(id)) fail(topic.at, 'each topic once', `${id} again`);
    queries.set(id, query);
  }
  if (queries.size > 0) return queries;
  const expected = 'at least 1 <top>, <topic> or <query> with content';
  throw new WinnowError('invalid_input', { where: path, expected, got: '0' });
}

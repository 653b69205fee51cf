import type { PairOptions, TextTokenizer } from '../../../tokenization/tokenization-types.ts';
import type { DataSource, Sampler } from '../data-schema.ts';
import { firstPlaces, hasOnlyLabels, type IdentifiedList, skipCount } from '../list-types.ts';
import { openRaw } from '../sources.ts';
import { KeyCounts } from './key-counts.ts';
import { type NumberFacts, NumberSummary } from './number-summary.ts';
import { type ObjectiveGroup, type ObjectiveUse, ObjectiveUses } from './objective-use.ts';
import { textHash } from './text-hash.ts';
import { PairSample, surveyTokens, type TokenFacts } from './token-survey.ts';

/** Something in the data that is worth a look. */
interface Finding {
  readonly what: string;
  readonly count: number;
  /** Whether the count is an estimate, because not all texts are remembered. */
  readonly estimated: boolean;
  /** The first one: query and passage. */
  readonly example?: string;
}

/** What a source holds, as far as training is concerned. */
export interface DataSurvey {
  readonly lists: number;
  readonly passages: number;
  /** Different queries; an estimate where there are more than are remembered. */
  readonly queries: number;
  /** Passages of all lists with a grade above 0. */
  readonly relevant: number;
  /** Lists that state a label for each passage. */
  readonly labeledLists: number;
  /** Lists with a teacher's scores. */
  readonly taughtLists: number;
  /** Rows and lists that the format's reader leaves out, by reason. */
  readonly rowsLeftOut: Readonly<Record<string, number>>;
  /** Passages that leave their list, by reason. */
  readonly passagesLeftOut: Readonly<Record<string, number>>;
  /** File and line of the first one by reason. */
  readonly firstLeftOut: Readonly<Record<string, string>>;
  /** The summaries are undefined where there is nothing to summarize. */
  readonly passagesAList: NumberFacts | undefined;
  readonly labels: NumberFacts | undefined;
  readonly teacherScores: NumberFacts | undefined;
  /** Weights of passages; undefined where no row has one. */
  readonly weights: NumberFacts | undefined;
  /** Words of query and passage together. */
  readonly words: NumberFacts | undefined;
  readonly tokens: TokenFacts | undefined;
  readonly uses: readonly ObjectiveUse[];
  readonly findings: readonly Finding[];
}

interface SurveyOptions {
  readonly sampler: Sampler;
  readonly objectives: readonly ObjectiveGroup[];
  readonly tokenizer?: { readonly tokenizer: TextTokenizer; readonly pairs: PairOptions } | undefined;
  /** Receives, after each list, the number of characters of text read so far. */
  readonly onText?: (characters: number) => void;
}

const EMPTY_QUERY = 'list with an empty query';
const EMPTY_PASSAGE = 'empty passage';
const NO_WEIGHT = 'passage of weight 0, which trains nothing';
const TWICE_IN_LIST = 'passage that stands twice in its list';
const BOTH = 'passage that is relevant and not relevant for the same query';
const SEVERAL_LISTS = 'list whose query has an earlier list';
const TWICE = 'pair of query and passage that stands in several lists';

/** Words, and characters of scripts that have no spaces. */
const WORD =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]+/gu;

const wordCount = (text: string): number => text.match(WORD)?.length ?? 0;

const exampleOf = ({ qid, query }: IdentifiedList, passage?: string): string =>
  JSON.stringify({ qid, query: query.slice(0, 100), ...(passage !== undefined && { passage: passage.slice(0, 100) }) });

/** Counts what is worth a look, with the first example of each. */
class Findings {
  readonly #found = new Map<string, { count: number; estimated: boolean; example?: string }>();

  note(what: string, example?: string): void {
    const before = this.#found.get(what) ?? { count: 0, estimated: false, ...(example !== undefined && { example }) };
    this.#found.set(what, { ...before, count: before.count + 1 });
  }

  /** Replaces a count by one of all keys, in whose count an example was noted. */
  settle(what: string, count: number, estimated: boolean): void {
    const before = this.#found.get(what);
    if (count === 0) this.#found.delete(what);
    else this.#found.set(what, { ...before, count, estimated });
  }

  all(): Finding[] {
    return [...this.#found].map(([what, found]) => ({ what, ...found }));
  }
}

/** The numbers of a survey while lists are read. */
class Tally {
  lists = 0;
  passages = 0;
  relevant = 0;
  labeledLists = 0;
  taughtLists = 0;
  readonly sizes = new NumberSummary();
  readonly labels = new NumberSummary();
  readonly scores = new NumberSummary();
  readonly weights = new NumberSummary();
  readonly words = new NumberSummary();
  readonly queries = new KeyCounts();
  readonly pairs = new KeyCounts();
  readonly sample = new PairSample();
  readonly findings = new Findings();

  add(list: IdentifiedList): void {
    const { query, passages, relevance, labeled, weights } = list;
    const teacher = hasOnlyLabels(list) ? undefined : list.teacher;
    this.lists++;
    this.passages += passages.length;
    this.sizes.add(passages.length);
    if (labeled) this.labeledLists++;
    if (teacher) this.taughtLists++;
    if (query.trim() === '') this.findings.note(EMPTY_QUERY, exampleOf(list));
    if ((this.queries.add(textHash(query))?.count ?? 0) > 1) this.findings.note(SEVERAL_LISTS, exampleOf(list));
    const queryWords = wordCount(query);
    for (const [p, text] of passages.entries()) {
      if (relevance[p]! > 0) this.relevant++;
      this.labels.add(relevance[p]!);
      if (teacher) this.scores.add(teacher[p]!);
      if (weights) this.weights.add(weights[p]!);
      if (weights?.[p] === 0) this.findings.note(NO_WEIGHT, exampleOf(list, text));
      this.words.add(queryWords + wordCount(text));
      this.sample.add(query, text);
    }
    this.#compare(list);
  }

  /** Looks for texts that are empty, stand twice or are judged both ways. */
  #compare(list: IdentifiedList): void {
    const { query, passages, relevance } = list;
    const here = new Set<string>();
    for (const [p, text] of passages.entries()) {
      if (text.trim() === '') this.findings.note(EMPTY_PASSAGE, exampleOf(list));
      const mark = relevance[p]! > 0 ? 1 : 2;
      const known = this.pairs.add(textHash(`${query}\0${text}`), mark);
      if (known?.marks === 3) this.findings.note(BOTH, exampleOf(list, text));
      if (here.has(text)) this.findings.note(TWICE_IN_LIST, exampleOf(list, text));
      else if (known && known.count > 1) this.findings.note(TWICE, exampleOf(list, text));
      here.add(text);
    }
  }

  /** Ends the counts of texts that are remembered by their hash. */
  settled(): readonly Finding[] {
    const queries = this.queries.totals();
    const pairs = this.pairs.totals();
    const counted = this.findings.all();
    const inLists = counted.find(({ what }) => what === TWICE_IN_LIST)?.count ?? 0;
    this.findings.settle(SEVERAL_LISTS, queries.repeats, this.queries.factor > 1);
    this.findings.settle(TWICE, Math.max(0, pairs.repeats - inLists), this.pairs.factor > 1);
    this.findings.settle(BOTH, pairs.both, this.pairs.factor > 1);
    return this.findings.all();
  }
}

/**
 * Reads a source once and describes it, in bounded memory: texts are compared by hashes, of which at most 500,000 are kept, and tokens are
 * counted for a sample of 4,000 pairs.
 * @throws WinnowError `invalid_input` as the source's reader does.
 */
export async function surveyData(source: DataSource, folder: string, options: SurveyOptions): Promise<DataSurvey> {
  const { sampler, objectives, tokenizer, onText } = options;
  const raw = await openRaw(source, folder);
  // Rows and passages apart, which readers count in one record.
  const [rows, left] = [skipCount(), skipCount()];
  const tally = new Tally();
  const uses = new ObjectiveUses(objectives, sampler);
  let characters = 0;
  try {
    for await (const list of raw.lists({ ...rows, drop: left.drop })) {
      tally.add(list);
      uses.add(list);
      characters += list.passages.reduce((sum, text) => sum + text.length, list.query.length);
      onText?.(characters);
    }
  } finally {
    await raw.close();
  }
  for (const [column, where] of rows.columns()) tally.findings.note(`column "${column}", which is not read`, where);
  for (const [what, where] of rows.idles()) tally.findings.note(what, where);
  const tokens = tokenizer && (await surveyTokens(tally.sample.pairs, tokenizer.tokenizer, tokenizer.pairs));
  return {
    lists: tally.lists,
    passages: tally.passages,
    queries: tally.queries.totals().keys,
    relevant: tally.relevant,
    labeledLists: tally.labeledLists,
    taughtLists: tally.taughtLists,
    rowsLeftOut: rows.skipped(),
    passagesLeftOut: left.skipped(),
    firstLeftOut: { ...firstPlaces(rows.leftOut()), ...firstPlaces(left.leftOut()) },
    passagesAList: tally.sizes.facts(),
    labels: tally.labels.facts(),
    teacherScores: tally.scores.facts(),
    weights: tally.weights.facts(),
    words: tally.words.facts(),
    tokens,
    uses: uses.uses(),
    findings: tally.settled(),
  };
}

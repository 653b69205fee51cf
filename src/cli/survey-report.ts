import { stringify } from 'yaml';
import { percent, share } from '../reports/format.ts';
import type { Cell, ReportModel, Section } from '../reports/report-model.ts';
import type { NumberFacts } from '../training/data/survey/number-summary.ts';
import { usedShare } from '../training/data/survey/suggestion.ts';
import type { DataSurvey } from '../training/data/survey/survey.ts';
import type { TokenFacts } from '../training/data/survey/token-survey.ts';
import { shortPlace } from './data-flags.ts';

/** A checked source in the spelling of recipes. */
interface Checked {
  readonly path: string;
  readonly source: unknown;
  readonly survey: DataSurvey;
  readonly suggestion: {
    readonly source: unknown;
    readonly objective: string;
    readonly share: number;
    readonly notes: readonly string[];
  };
}

/** A number with at most four significant digits behind the point. */
const short = (value: number): string => String(Number(value.toPrecision(4)));
const whole = (value: number): string => value.toLocaleString('en-US');
/** A count with its noun, whose plural has another ending. */
const counted = (value: number, one: string, many = `${one}s`): string => `${whole(value)} ${value === 1 ? one : many}`;
const cells = (...texts: string[]): Cell[] => texts.map((text) => ({ text }));
const reasons = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([reason, n]) => `${whole(n)} ${reason}`)
    .join(', ');

/** Draws a histogram, with its quantiles below. */
function histogram(title: string, facts: NumberFacts | undefined): Section[] {
  if (!facts) return [];
  const { bars, min, median, p90, p99, max, mean, sampled } = facts;
  return [
    {
      kind: 'bars',
      title,
      measure: 'share',
      digits: 3,
      groups: [counted(facts.count, 'value')],
      series: bars.map((bar) => ({
        name: bar.from === bar.to ? short(bar.from) : `${short(bar.from)} to ${short(bar.to)}`,
        values: [bar.share],
      })),
      note: `least ${short(min)}, mean ${short(mean)}, median ${short(median)}, 90 % at most ${short(p90)}, 99 % at most ${short(p99)}, most ${short(max)}${sampled ? '; bars and quantiles from a random part' : ''}`,
    },
  ];
}

function recipeLines({ suggestion }: Checked): Section {
  const { source, objective, notes, share: used } = suggestion;
  return {
    kind: 'text',
    title: 'Lines of a recipe',
    paragraphs: [
      ...stringify({ data: { train: [source] }, objective })
        .trimEnd()
        .split('\n'),
      `# trains on ${percent(used)} of the passages; the path is relative to the recipe`,
      ...notes.map((note) => `# ${note}`),
    ],
  };
}

const usesOf = ({ survey }: Checked): Section => ({
  kind: 'table',
  title: 'What objectives can train on',
  columns: [{ label: 'passages', numeric: true }, { label: 'objectives' }, { label: 'lists left out' }],
  rows: survey.uses.map(({ objectives, passages, leftOut }) =>
    cells(percent(usedShare(survey, passages)), objectives.join(', '), reasons(leftOut) || 'none'),
  ),
});

function leftOut({ rowsLeftOut, passagesLeftOut, firstLeftOut }: DataSurvey): Section[] {
  const first = (reason: string): string => shortPlace(firstLeftOut[reason] ?? '');
  const rows = [
    ...Object.entries(rowsLeftOut).map(([reason, n]) => cells(whole(n), 'rows or lists', reason, first(reason))),
    ...Object.entries(passagesLeftOut).map(([reason, n]) => cells(whole(n), 'passages', reason, first(reason))),
  ];
  const columns = [{ label: 'number', numeric: true }, { label: 'of' }, { label: 'reason' }, { label: 'first one' }];
  return rows.length === 0 ? [] : [{ kind: 'table', title: 'Left out while reading', columns, rows }];
}

function findings({ findings: found }: DataSurvey): Section[] {
  if (found.length === 0) return [{ kind: 'text', title: 'Worth a look', paragraphs: ['nothing found'] }];
  return [
    {
      kind: 'table',
      title: 'Worth a look',
      columns: [{ label: 'number', numeric: true }, { label: 'what' }, { label: 'first one' }],
      rows: found.map(({ what, count, estimated, example }) =>
        cells(`${estimated ? '~' : ''}${whole(count)}`, what, shortPlace(example ?? '')),
      ),
      note: found.some(({ estimated }) => estimated) ? '~: estimated from the texts whose hash is kept' : undefined,
    },
  ];
}

function tokens(facts: TokenFacts | undefined): Section[] {
  if (!facts) return [];
  const { cut, maxLength, unknown, unspelled, pairs } = facts;
  const said = [
    `${percent(cut)} of ${whole(pairs)} sampled pairs are cut at ${maxLength} tokens`,
    unknown === 0
      ? 'the tokenizer can spell every word of them'
      : `${percent(unknown, 2)} of the tokens stand for what the tokenizer cannot spell`,
  ];
  return [
    ...histogram('Tokens of a pair', facts.tokens),
    { kind: 'text', title: 'What the tokenizer makes of it', paragraphs: said },
    ...(unspelled.length === 0
      ? []
      : [
          {
            kind: 'table' as const,
            title: 'Words that it cannot spell',
            columns: [{ label: 'share', numeric: true }, { label: 'script' }, { label: 'examples' }],
            rows: unspelled.map((each) => cells(share(each.share), each.script, each.examples.join(' '))),
            note: 'share of the different words of a script in the sample',
          },
        ]),
  ];
}

const formatName = (source: unknown): string =>
  typeof source === 'object' && source !== null && 'format' in source ? String(source.format) : '';

/** Makes the report of `winnow data check`. */
export function surveyReport(checked: Checked): ReportModel {
  const { path, source, survey } = checked;
  const { lists, passages, queries, relevant, labeledLists, taughtLists } = survey;
  return {
    title: `${path}: ${formatName(source)}`,
    summary: `${counted(lists, 'list')} of ${counted(queries, 'query', 'queries')} with ${counted(passages, 'passage')}, ${whole(relevant)} relevant. Lists with a label for each passage: ${whole(labeledLists)}. Lists with a teacher’s scores: ${whole(taughtLists)}.`,
    sections: [
      recipeLines(checked),
      usesOf(checked),
      ...leftOut(survey),
      ...findings(survey),
      ...histogram('Labels', survey.labels),
      ...histogram('Scores of the teacher', survey.teacherScores),
      ...histogram('Weights of passages', survey.weights),
      ...histogram('Passages of a list', survey.passagesAList),
      ...(survey.tokens ? tokens(survey.tokens) : histogram('Words of a pair', survey.words)),
    ],
  };
}

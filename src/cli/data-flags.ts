import type { Command } from 'commander';
import { WinnowError } from '../errors.ts';
import { COLUMN_ROLES } from '../training/data/columns.ts';
import { DATA_FORMATS, type DataSource, dataSourceSchema } from '../training/data/data-schema.ts';
import { choiceOption } from './options.ts';

/** Flags that name candidate lists; the same words as in a recipe. */
export interface DataFlags {
  readonly format: DataSource['format'];
  readonly data: string;
  readonly qrels?: string;
  readonly queries?: string;
  readonly collection?: string;
  readonly candidates?: string;
  readonly split?: string;
  readonly columns?: Readonly<Record<string, string>>;
  readonly minRelevance?: number;
}

/** Makes the option that names the format of lists. */
export const dataFormatOption = (description = 'format of the lists') =>
  choiceOption('--format <format>', description, DATA_FORMATS);

/** Parses `name=role,name=role`. @throws WinnowError `invalid_input` for another form or role. */
function parseColumns(text: string): DataSource['columns'] {
  const pairs = text
    .split(',')
    .map((pair) => [pair.slice(0, pair.lastIndexOf('=')), pair.slice(pair.lastIndexOf('=') + 1)]);
  const parsed = dataSourceSchema.shape.columns.safeParse(Object.fromEntries(pairs));
  if (parsed.success && pairs.every(([name]) => name !== '')) return parsed.data;
  throw new WinnowError('invalid_input', {
    where: '--columns',
    expected: `name=role,…, a role being one of ${COLUMN_ROLES.join(', ')}`,
    got: text,
  });
}

/** Adds the flags that name the files which belong to lists. */
export const withDataFiles = (command: Command): Command =>
  command
    .option('--queries <file>', 'texts of query ids')
    .option('--collection <file>', 'texts of passage ids')
    .option('--qrels <file>', 'judgements')
    .option('--candidates <file>', 'run file with the lists of a BEIR, WikiQA or SQuAD set')
    .option('--split <name>', 'part of a BEIR or WikiQA set or of a folder of datasets (default: train)')
    .option('--columns <name=role,…>', 'roles of columns whose names are not known, such as frage=query', parseColumns);

/** Adds the flags that name candidate lists to a command. */
export const withDataFlags = (command: Command): Command =>
  withDataFiles(
    command
      .addOption(dataFormatOption().makeOptionMandatory())
      .requiredOption('--data <path>', 'file or folder of the lists'),
  );

/** Returns the data source that the flags name, as a recipe would. */
export function dataSource(flags: DataFlags): DataSource {
  const { format, data, qrels, queries, collection, candidates, split, columns, minRelevance } = flags;
  const given = Object.entries({ qrels, queries, collection, candidates, split, columns, minRelevance });
  const stated = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  return dataSourceSchema.parse({ format, path: data, ...stated });
}

/** Returns `; cut: 2 queries, 31 passages`, or nothing where no text was cut. */
export const cutText = ({ queries, passages }: { readonly queries: number; readonly passages: number }): string =>
  queries + passages > 0 ? `; cut: ${queries} queries, ${passages} passages` : '';

/** Returns a place in a file as seen from the working directory. */
export const shortPlace = (place: string): string => place.replaceAll(`${process.cwd()}/`, '');

/** Returns `; left out: 3 unknown query (first: FILE:7)`, or nothing where nothing was left out. @param first places by reason. */
export function leftOutText(
  leftOut: Readonly<Record<string, number>>,
  first: Readonly<Record<string, string>> = {},
): string {
  const at = (reason: string): string => (first[reason] === undefined ? '' : ` (first: ${shortPlace(first[reason])})`);
  const reasons = Object.entries(leftOut).map(([reason, n]) => `${n} ${reason}${at(reason)}`);
  return reasons.length > 0 ? `; left out: ${reasons.join(', ')}` : '';
}

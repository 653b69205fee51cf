import type { Command } from 'commander';
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
}

/** Makes the option that names the format of lists. */
export const dataFormatOption = (description = 'format of the lists') =>
  choiceOption('--format <format>', description, DATA_FORMATS);

/** Adds the flags that name the files which belong to lists. */
export const withDataFiles = (command: Command): Command =>
  command
    .option('--queries <file>', 'texts of query ids')
    .option('--collection <file>', 'texts of passage ids')
    .option('--qrels <file>', 'judgements')
    .option('--candidates <file>', 'run file with the lists of a BEIR, WikiQA or SQuAD set')
    .option('--split <name>', 'part of a BEIR or WikiQA set (default: train)');

/** Adds the flags that name candidate lists to a command. */
export const withDataFlags = (command: Command): Command =>
  withDataFiles(
    command
      .addOption(dataFormatOption().makeOptionMandatory())
      .requiredOption('--data <path>', 'file or folder of the lists'),
  );

/** Returns the data source that the flags name, as a recipe would. */
export function dataSource(flags: DataFlags): DataSource {
  const { format, data, qrels, queries, collection, candidates, split } = flags;
  const given = Object.entries({ qrels, queries, collection, candidates, split }).filter(([, v]) => v !== undefined);
  return dataSourceSchema.parse({ format, path: data, ...Object.fromEntries(given) });
}

/** Returns `; cut: 2 queries, 31 passages`, or nothing where no text was cut. */
export const cutText = ({ queries, passages }: { readonly queries: number; readonly passages: number }): string =>
  queries + passages > 0 ? `; cut: ${queries} queries, ${passages} passages` : '';

/** Returns `; left out: 3 unknown query`, or nothing where nothing was left out. */
export function leftOutText(leftOut: Readonly<Record<string, number>>): string {
  const reasons = Object.entries(leftOut).map(([reason, n]) => `${n} ${reason}`);
  return reasons.length > 0 ? `; left out: ${reasons.join(', ')}` : '';
}

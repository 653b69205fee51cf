import { type Command, Option } from 'commander';
import { z } from 'zod';
import { describe, WinnowError } from '../errors.ts';
import { REPORT_FORMATS, type ReportFormat } from '../reports/write-report.ts';
import { type NumberRange, parseNumber } from '../util/cli-numbers.ts';
import { parseShard } from '../util/shard.ts';
import { documentedValue, readSpelling, warnOfOld } from '../util/spelling.ts';

/** Makes an option whose value is a number of `range`; `initial` is its default. */
export function numberOption(flags: string, description: string, range: NumberRange, initial?: number): Option {
  const option = new Option(flags, description);
  option.argParser((text: string) => parseNumber(text, option.long!, range));
  return initial === undefined ? option : option.default(initial);
}

/**
 * Makes an option whose value is one of `values`. The help shows them in kebab-case; a value in the spelling of the code is taken too, with
 * a line on standard error.
 */
export function choiceOption<const T extends string>(
  flags: string,
  description: string,
  values: readonly [T, ...T[]] | readonly T[],
  initial?: T,
): Option {
  const schema = z.enum(values as readonly [T, ...T[]]);
  const documented = values.map((value) => documentedValue(schema, value));
  const option = new Option(flags, description).choices(documented);
  option.argParser((text: string) => {
    const { document: value, old } = readSpelling(schema, text, [option.long!]);
    const parsed = schema.safeParse(value);
    if (!parsed.success)
      throw new WinnowError('invalid_input', {
        where: option.long!,
        expected: `one of ${documented.join(', ')}`,
        got: describe(text),
      });
    warnOfOld(old);
    return parsed.data;
  });
  return initial === undefined ? option : option.default(initial, documentedValue(schema, initial));
}

/** Makes a command accept the flag `now` under the name `old` too, with a line on standard error. */
export function acceptOldFlag(command: Command, old: string, now: string): Command {
  const target = command.options.find(({ long }) => long === now)!;
  const hidden = new Option(target.flags.replace(now, old)).hideHelp();
  if (target.parseArg) hidden.argParser(target.parseArg);
  return command.addOption(hidden).hook('preAction', (self) => {
    const value: unknown = self.getOptionValue(hidden.attributeName());
    if (value === undefined) return;
    if (self.getOptionValueSource(target.attributeName()) === 'cli')
      throw new WinnowError('invalid_input', {
        where: now,
        expected: 'the flag under one name',
        got: `${now} and ${old}, its old name`,
      });
    warnOfOld([{ at: '', old, now }]);
    self.setOptionValueWithSource(target.attributeName(), value, 'cli');
  });
}

/** The form in which a report goes to standard output. */
export const reportFormatOption = (): Option =>
  choiceOption('--format <format>', 'what to print', Object.keys(REPORT_FORMATS) as ReportFormat[], 'terminal');

/** A folder for the charts of a report, beside what is printed or written of it. */
export const drawingsOption = (): Option =>
  new Option('--drawings <folder>', 'folder for each chart of the report as an SVG file of its own');

/** The judgements that runs are measured against. */
export const qrelsOption = (): Option =>
  new Option(
    '--qrels <file>',
    'judgements: TREC, MS MARCO, BEIR, SMART, JSON or Parquet; .gz too',
  ).makeOptionMandatory();

/** The precision in which the scores of runs are compared. */
export const precisionOption = (): Option =>
  choiceOption(
    '--precision <kind>',
    'compare scores as 64-bit numbers or, like trec_eval up to version 9, as 32-bit numbers',
    ['double', 'single'],
    'double',
  );

/** The registry folder, the same for every command that takes it. */
export const modelsOption = (): Option =>
  new Option('--models <folder>', 'registry folder').env('WINNOW_MODELS').default('models');

/** The execution provider; without `initial` the one that the settings name. */
export const providerOption = (initial?: 'cpu'): Option =>
  choiceOption('--provider <provider>', 'execution provider', ['auto', 'cpu', 'cuda', 'webgpu'], initial);

const LONGEST_INSTRUCTION = 10_000;

/** What models with a template look for. */
export const instructionOption = (): Option =>
  new Option('--instruction <text>', 'what decoders such as Qwen3-Reranker look for, in place of their own').argParser(
    (text: string) => {
      if (text.trim() !== '' && text.length <= LONGEST_INSTRUCTION) return text;
      throw new WinnowError('invalid_input', {
        where: '--instruction',
        expected: `a text of 1 to ${LONGEST_INSTRUCTION} characters`,
        got: text.trim() === '' ? 'an empty one' : `${text.length}`,
      });
    },
  );

/** Returns the line that tells of a model which reads no instruction. */
export const instructionIgnored = (model: string): string =>
  `--instruction has no effect on ${model}: it has no template with a place for it\n`;

/** The part of a job that this process does. */
export const shardOption = (of: string): Option =>
  new Option('--shard <i/n>', `only part i, from 0, of the n parts of ${of}`).argParser(parseShard);

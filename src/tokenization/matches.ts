import { z } from 'zod';
import { translated } from './oniguruma.ts';
import { checked, refusal } from './refusal.ts';

/** Finds matches in a text: start and end of each, from left to right, not overlapping. */
export type Find = (text: string) => Generator<readonly [number, number]>;

const patternSchema = z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]);

/**
 * Reads the `pattern` of a Replace or Split: plain text, or a regular expression in Oniguruma's syntax.
 * @throws WinnowError `invalid_manifest`.
 */
export function finderOf(pattern: unknown, file: string, field: string): Find {
  const read = checked(patternSchema, pattern, file, field);
  if ('String' in read) return byRegExp(new RegExp(escaped(read.String), 'gv'));
  try {
    return byRegExp(translated(read.Regex));
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error);
    throw refusal(file, `${field}.Regex`, 'a pattern that JavaScript can express', `${fault}: ${read.Regex}`);
  }
}

/** Returns a text as the source of a regular expression that matches it, with any flags. */
export function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** Finds by a regular expression with flag g. As in Oniguruma, no empty match follows at the end of another. */
export function byRegExp(pattern: RegExp): Find {
  return function* (text) {
    let end = -1;
    for (const match of text.matchAll(pattern)) {
      if (match[0] === '' && match.index === end) continue;
      end = match.index + match[0].length;
      yield [match.index, end];
    }
  };
}

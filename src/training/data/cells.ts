import { sourceOf } from '../../util/exact-json.ts';
import { isObject, type JsonObject } from '../../util/json-files.ts';
import { parseJson } from '../../util/parse-json.ts';
import { badRow } from './raw-list.ts';

/** Counts what is left out of a row, by reason. */
export type Drop = (reason: string, count?: number) => void;

const NOT_TEXT = 'cell that is not text';
/** A list of texts as Python prints it. */
const PRINTED = /^\[\s*'.*'\s*\]$/s;

/** Returns what an object holds as a passage's text. */
export const passageText = (value: JsonObject): unknown =>
  value.text ?? value.contents ?? value.content ?? value.passage;

/** Returns the text of a passage: text, a number as it is written, or an object with `text` and perhaps `title`. */
function textOf(value: unknown, holder: object, key: string): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return sourceOf(holder, key, value);
  if (!isObject(value)) return undefined;
  const text = passageText(value);
  if (typeof text !== 'string') return undefined;
  return typeof value.title === 'string' && value.title !== '' ? `${value.title} ${text}` : text;
}

/** Returns the elements of a cell; JSON lists in text too, as tables hold them. */
function elementsOf(value: unknown, where: string, field: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (typeof value !== 'string' || !value.trim().startsWith('[')) return [value];
  try {
    const parsed: unknown = parseJson(value);
    if (Array.isArray(parsed)) return parsed;
  } catch {
    // Text that begins with a bracket, or a list as Python prints it.
  }
  if (PRINTED.test(value.trim()))
    throw badRow(where, `"${field}" as text or a JSON list; write the file as JSON lines or Parquet`, value);
  return [value];
}

/** Returns the texts of a cell, undefined in place of those that are not text. An empty cell is one missing text. */
export function textCells(row: JsonObject, field: string, where: string, drop: Drop): (string | undefined)[] {
  const value = row[field];
  if (value === null || value === undefined) return [undefined];
  const elements = elementsOf(value, where, field);
  return elements.map((element, i) => {
    if (element === null || element === undefined) return undefined;
    const text = elements[0] === value ? textOf(element, row, field) : textOf(element, elements, `${i}`);
    if (text === undefined) drop(NOT_TEXT);
    return text;
  });
}

/** Whether a text spells a finite number. */
export const spellsNumber = (text: string): boolean => text.trim() !== '' && Number.isFinite(Number(text));

const WORDS: Readonly<Record<string, number>> = { true: 1, false: 0 };

/** Returns a number, a boolean as 1 or 0, or the number that a text spells; NaN for others. */
function numberOf(value: unknown): number {
  if (typeof value === 'boolean') return +value;
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'string') return typeof value === 'number' ? value : Number.NaN;
  const text = value.trim();
  return text === '' ? Number.NaN : (WORDS[text.toLowerCase()] ?? Number(text));
}

/** Returns the numbers of a cell, NaN for what is not a finite number; undefined for an empty cell. */
export function numberCells(value: unknown, where: string, field: string): number[] | undefined {
  if (value === null || value === undefined) return undefined;
  return elementsOf(value, where, field)
    .map(numberOf)
    .map((x) => (Number.isFinite(x) ? x : Number.NaN));
}

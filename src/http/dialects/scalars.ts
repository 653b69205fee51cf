import { z } from 'zod';

/*
 * Fields of one flag or number. Some clients write them as words ("true", "True", "2"), which servers in Python take. Any other text is left
 * as it is, so that the validator refuses it.
 */

const WHOLE = '^-?[0-9]{1,15}$';
const DECIMAL = '^-?[0-9]{1,15}([.][0-9]{1,30})?([eE][-+]?[0-9]{1,3})?$';
const WORDS = ['true', 'True', 'TRUE', 'false', 'False', 'FALSE'];
const WORD = `^(${WORDS.join('|')})$`;

/** Returns the flag that a text stands for, or the value as it is. */
function flagOf(value: unknown): unknown {
  return typeof value === 'string' && WORDS.includes(value) ? value.toLowerCase() === 'true' : value;
}

/** Whether a value is a flag, or a word for one. */
export const isFlag = (value: unknown): boolean => typeof flagOf(value) === 'boolean';

/** Makes a reader that returns the number a text of this form stands for, or the value as it is. */
const numberBy = (pattern: string) => {
  const written = new RegExp(pattern);
  return (value: unknown): unknown => (typeof value === 'string' && written.test(value) ? Number(value) : value);
};

/** An optional flag. */
export const flag = (description: string) =>
  z.preprocess(flagOf, z.boolean().nullish()).meta({ description, type: ['boolean', 'string', 'null'], pattern: WORD });

/** An optional whole number. */
export const integer = (min: number, max: number, description?: string) =>
  z.preprocess(numberBy(WHOLE), z.number().int().min(min).max(max).nullish()).meta({
    ...(description ? { description } : {}),
    type: ['integer', 'string', 'null'],
    minimum: min,
    maximum: max,
    pattern: WHOLE,
  });

/** A whole number that has to be there. */
export const count = (min: number) =>
  z
    .preprocess(numberBy(WHOLE), z.number().int().min(min))
    .meta({ type: ['integer', 'string'], minimum: min, pattern: WHOLE });

/** An optional number. */
export const decimal = (min: number, max: number, description: string) =>
  z.preprocess(numberBy(DECIMAL), z.number().min(min).max(max).nullish()).meta({
    description,
    type: ['number', 'string', 'null'],
    minimum: min,
    maximum: max,
    pattern: DECIMAL,
  });

/** An optional flag or one of some words. */
export const flagOrWord = <const Words extends readonly [string, ...string[]]>(words: Words, description: string) => {
  const expected = `a boolean, ${words.map((word) => JSON.stringify(word)).join(' or ')}`;
  const choice = z.union([z.boolean(), z.enum(words)], { error: expected });
  return z.preprocess(flagOf, choice.nullish()).meta({
    description,
    anyOf: [{ type: 'boolean' }, { type: 'string', enum: [...words, ...WORDS] }, { type: 'null' }],
  });
};

/** A list whose length is checked before its members are: a validator's walk over many of them would block the event loop. */
export const shortList = <T extends z.ZodType>(member: T, most: number) =>
  z.preprocess((list, context) => {
    if (!Array.isArray(list) || list.length <= most) return list;
    context.addIssue({ code: 'too_big', origin: 'array', maximum: most, inclusive: true, input: list });
    return z.NEVER;
  }, z.array(member));

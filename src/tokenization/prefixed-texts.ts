import type { PairTemplate } from './pair-template.ts';
import { LONGEST_WHOLE } from './piecewise-encoder.ts';
import type { PairOptions } from './tokenization-types.ts';

/*
 * Texts behind a prefix that belongs to the model. Prefix and text are tokenized as one text; what is cut, by a limit or by the ends of windows,
 * is cut from the text alone. sentence-transformers cuts the prefix too where a tokenizer cuts on the left, so that the model is asked in
 * another way than it was trained.
 */

/** Texts in a row whose rows begin with the same tokens of the prefix. */
interface PrefixedTexts {
  readonly template: PairTemplate;
  readonly ids: readonly Int32Array[];
  readonly options: PairOptions;
}

/** Whether the beginning of a text may be left unread: of a long one whose end is kept. */
const isEndOnly = (text: string, prefix: string, { side }: PairOptions): boolean =>
  side === 'left' && prefix.length + text.length > LONGEST_WHOLE;

/** Returns what is tokenized of a text; without the prefix where its beginning may be left unread. */
export const prefixed = (text: string, prefix: string, options: PairOptions): string =>
  isEndOnly(text, prefix, options) ? text : prefix + text;

/** Returns how many tokens both begin with. */
function common(ids: Int32Array, prefix: Int32Array): number {
  const most = Math.min(ids.length, prefix.length);
  let count = 0;
  while (count < most && ids[count] === prefix[count]) count++;
  return count;
}

/** The tokens of prefix and text together count, but one of the text always stays. */
const lessPrefix = (limit: number | undefined, prefix: number): number | undefined =>
  limit === undefined ? undefined : Math.max(1, limit - prefix);

/**
 * Divides tokenized texts into prefix and text. A token that spans the end of the prefix belongs to the text.
 * @param ids of each `prefixed` text.
 */
export function dividePrefix(
  texts: readonly string[],
  ids: readonly Int32Array[],
  prefix: { readonly text: string; readonly ids: Int32Array },
  template: PairTemplate,
  options: PairOptions,
): readonly PrefixedTexts[] {
  const groups: { readonly length: number; readonly ids: Int32Array[] }[] = [];
  for (const [i, own] of ids.entries()) {
    const alone = isEndOnly(texts[i]!, prefix.text, options);
    const length = alone ? prefix.ids.length : common(own, prefix.ids);
    const text = alone ? own : own.subarray(length);
    const last = groups.at(-1);
    if (last?.length === length) last.ids.push(text);
    else groups.push({ length, ids: [text] });
  }
  return groups.map(({ length, ids: own }) => ({
    template: { ...template, prefix: [...template.prefix, ...prefix.ids.subarray(0, length)] },
    ids: own,
    options: { ...options, maxPassageTokens: lessPrefix(options.maxPassageTokens, length) },
  }));
}

import { z } from 'zod';
import { checked, refusal } from './refusal.ts';
import { type Definition, type Part, tokenId } from './tokenizer-definition.ts';
import type { TokenizerSettings } from './tokenizer-settings.ts';

/** The special tokens of a pair: prefix, query, middle, passage, suffix. */
export interface PairTemplate {
  readonly prefix: readonly number[];
  readonly middle: readonly number[];
  readonly suffix: readonly number[];
  /** Token type of the passage and the suffix. */
  readonly secondType: 0 | 1;
  /** Tokens at the end of `middle` that have the passage's type, such as a prefix of passages; none where absent. */
  readonly lead?: number;
}

const typeId = z.int().min(0).default(0);
const itemSchema = z.union([
  z.object({ SpecialToken: z.object({ id: z.string(), type_id: typeId }) }),
  z.object({ Sequence: z.object({ id: z.enum(['A', 'B']), type_id: typeId }) }),
]);
const templateSchema = z.looseObject({
  pair: z.array(itemSchema),
  special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(z.int().min(0)) })).default({}),
});
const clsSepSchema = z.looseObject({
  cls: z.tuple([z.string(), z.int().min(0)]),
  sep: z.tuple([z.string(), z.int().min(0)]),
});
const sequenceSchema = z.looseObject({ processors: z.array(z.looseObject({ type: z.string() })) });

type Rule = (part: Part, definition: Definition) => PairTemplate | undefined;

/** One rule for each post-processor of the tokenizers library. A rule returns undefined if the post-processor adds no tokens. */
const RULES: Readonly<Record<string, Rule>> = {
  TemplateProcessing: fromTemplate,
  BertProcessing(part, { file }) {
    const { cls, sep } = checked(clsSepSchema, part, file, 'post_processor');
    return { prefix: [cls[1]], middle: [sep[1]], suffix: [sep[1]], secondType: 1 };
  },
  // RoBERTa has only token type 0.
  RobertaProcessing(part, { file }) {
    const { cls, sep } = checked(clsSepSchema, part, file, 'post_processor');
    return { prefix: [cls[1]], middle: [sep[1], sep[1]], suffix: [sep[1]], secondType: 0 };
  },
  ByteLevel: () => undefined,
  Sequence(part, definition) {
    const { processors } = checked(sequenceSchema, part, definition.file, 'post_processor');
    return processors.map((p) => ruleFor(p, definition)(p, definition)).find((t) => t !== undefined);
  },
};

function ruleFor(part: Part, definition: Definition): Rule {
  const rule = RULES[part.type];
  if (rule === undefined)
    throw refusal(definition.file, 'post_processor.type', Object.keys(RULES).join(', '), part.type);
  return rule;
}

function fromTemplate(part: Part, definition: Definition): PairTemplate {
  const { pair, special_tokens } = checked(templateSchema, part, definition.file, 'post_processor');
  const order = pair.flatMap((item) => ('Sequence' in item ? [item.Sequence.id] : []));
  if (order.join('') !== 'AB')
    throw refusal(definition.file, 'post_processor.pair', 'sequence A once, then B once', order.join(' '));
  const sides: [number[], number[], number[]] = [[], [], []];
  let side = 0;
  let secondType: 0 | 1 = 0;
  let lead = 0;
  for (const item of pair) {
    if ('Sequence' in item) {
      side++;
      if (item.Sequence.id === 'B' && item.Sequence.type_id > 0) secondType = 1;
      continue;
    }
    const { id, type_id } = item.SpecialToken;
    const ids = special_tokens[id]?.ids ?? [tokenId(definition, id)];
    for (const one of ids) {
      if (one === undefined) throw refusal(definition.file, `post_processor.special_tokens.${id}`, 'an id', one);
      sides[side]!.push(one);
    }
    if (side === 1) lead = type_id > 0 ? lead + ids.length : 0;
  }
  const counted = secondType === 1 && lead > 0 ? { lead } : {};
  return { prefix: sides[0], middle: sides[1], suffix: sides[2], secondType, ...counted };
}

/** No tokens at all: those around query and passage come from a text template. */
export const NO_TOKENS: PairTemplate = { prefix: [], middle: [], suffix: [], secondType: 0 };

/**
 * Returns the pair template of a tokenizer from its post-processor. Without one it is `cls A sep B sep`, with the special tokens of
 * `tokenizer_config.json`, and of a decoder `A B`. A model with one token type (`type_vocab_size` below 2) has second type 0 in any case.
 * @throws WinnowError `invalid_manifest` if neither gives a template.
 */
export function pairTemplate(definition: Definition, settings: TokenizerSettings): PairTemplate {
  const { postProcessor: part } = definition;
  const stated = part === null ? undefined : ruleFor(part, definition)(part, definition);
  const template = stated ?? (settings.isDecoder ? NO_TOKENS : fromSpecialTokens(definition, settings));
  return settings.tokenTypes < 2 ? { ...template, secondType: 0 } : template;
}

function fromSpecialTokens(definition: Definition, settings: TokenizerSettings): PairTemplate {
  const [cls, sep] = [settings.specialToken('cls_token'), settings.specialToken('sep_token')].map((token) =>
    token === undefined ? undefined : tokenId(definition, token),
  );
  if (cls === undefined || sep === undefined)
    throw refusal(definition.file, 'post_processor', 'a template for pairs', definition.postProcessor);
  return { prefix: [cls], middle: [sep], suffix: [sep], secondType: 1 };
}

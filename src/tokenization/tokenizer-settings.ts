import { z } from 'zod';
import { isDecoder } from '../util/known-templates.ts';
import { checked, refusal } from './refusal.ts';
import { type Definition, tokenId } from './tokenizer-definition.ts';

/** Settings from the small JSON files next to the vocabulary. */
export interface TokenizerSettings {
  /** The content of `tokenizer_config.json`; an empty object without the file. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Returns the text of `cls_token`, `pad_token` … from tokenizer_config.json, else from special_tokens_map.json. */
  specialToken(name: string): string | undefined;
  /** `type_vocab_size` of config.json. Default: 2. */
  readonly tokenTypes: number;
  /** All tokens that the files name as special or added, which are never split. */
  readonly namedTokens: readonly NamedToken[];
  /** Tokens that the model has an embedding for: `vocab_size` of config.json. */
  readonly embeddings: number | undefined;
  readonly padTokenId: number | undefined;
  /** Whether the model is a decoder, whose tokenizer joins two texts as they are. */
  readonly isDecoder: boolean;
}

export type NamedToken = z.infer<typeof namedSchema>;

const flag = z.boolean().default(false);
const namedSchema = z.union([
  z.string().transform((content) => ({
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  z.looseObject({
    content: z.string(),
    single_word: flag,
    lstrip: flag,
    rstrip: flag,
    normalized: flag,
    special: z.boolean().default(true),
  }),
]);
const tokenSchema = namedSchema.nullish();
/** A list of tokens, or a map from names to tokens, as newer files have it. */
const moreSchema = z
  .union([z.array(namedSchema), z.record(z.string(), namedSchema).transform((named) => Object.values(named))])
  .nullish();
const tokensSchema = z.looseObject({
  cls_token: tokenSchema,
  sep_token: tokenSchema,
  pad_token: tokenSchema,
  unk_token: tokenSchema,
  mask_token: tokenSchema,
  bos_token: tokenSchema,
  eos_token: tokenSchema,
  additional_special_tokens: moreSchema,
  extra_special_tokens: moreSchema,
  added_tokens_decoder: moreSchema,
});
const SINGLE = ['cls_token', 'sep_token', 'pad_token', 'unk_token', 'mask_token', 'bos_token', 'eos_token'] as const;
const LISTS = ['added_tokens_decoder', 'additional_special_tokens', 'extra_special_tokens'] as const;
const configSchema = tokensSchema.extend({
  do_lower_case: z.boolean().nullish(),
  strip_accents: z.boolean().nullish(),
  tokenize_chinese_chars: z.boolean().nullish(),
  add_prefix_space: z.boolean().nullish(),
});
const modelSchema = z.looseObject({
  type_vocab_size: z.int().min(0).nullish(),
  pad_token_id: z.int().min(0).nullish(),
  vocab_size: z.int().min(0).nullish(),
});

type Files = Readonly<Record<'tokenizer_config.json' | 'special_tokens_map.json' | 'config.json', unknown>>;

/** Reads the parsed settings files. @throws WinnowError `invalid_manifest` with file and field. */
export function readSettings(files: Files, pathOf: (name: string) => string): TokenizerSettings {
  const config = checked(configSchema, files['tokenizer_config.json'] ?? {}, pathOf('tokenizer_config.json'));
  const map = checked(tokensSchema, files['special_tokens_map.json'] ?? {}, pathOf('special_tokens_map.json'));
  const model = checked(modelSchema, files['config.json'] ?? {}, pathOf('config.json'));
  return {
    config,
    specialToken(name) {
      const known = SINGLE.find((single) => single === name);
      return known && (config[known] ?? map[known])?.content;
    },
    namedTokens: [...tokensOf(config), ...tokensOf(map)],
    embeddings: model.vocab_size ?? undefined,
    tokenTypes: model.type_vocab_size ?? 2,
    padTokenId: model.pad_token_id ?? undefined,
    isDecoder: isDecoder(model),
  };
}

function tokensOf(tokens: z.infer<typeof tokensSchema>): NamedToken[] {
  return [...LISTS.flatMap((name) => tokens[name] ?? []), ...SINGLE.flatMap((name) => tokens[name] ?? [])];
}

/**
 * Returns the padding id: that of the pad token, else `pad_token_id` of config.json, else that of `[PAD]` or `<pad>`.
 * @throws WinnowError `invalid_manifest` if there is none.
 */
export function padIdOf(definition: Definition, settings: TokenizerSettings): number {
  const named = settings.specialToken('pad_token');
  const candidates = [named, '[PAD]', '<pad>'].map((t) => (t === undefined ? undefined : tokenId(definition, t)));
  const id = candidates[0] ?? settings.padTokenId ?? candidates[1] ?? candidates[2];
  if (id === undefined) throw refusal(definition.file, 'added_tokens', 'a pad token', named);
  return id;
}

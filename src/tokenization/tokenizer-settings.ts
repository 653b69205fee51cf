import { z } from 'zod';
import { checked, refusal } from './refusal.ts';
import { type Definition, tokenId } from './tokenizer-definition.ts';

/** What the small JSON files beside the vocabulary say, as far as it matters here. */
export interface TokenizerSettings {
  /** `tokenizer_config.json` as it is (an empty object if absent). */
  readonly config: Readonly<Record<string, unknown>>;
  /** Text of `cls_token`, `pad_token` … from tokenizer_config.json, else special_tokens_map.json. */
  specialToken(name: string): string | undefined;
  /** `type_vocab_size` of config.json; 2 if it does not say. */
  readonly tokenTypes: number;
  readonly padTokenId: number | undefined;
}

const tokenSchema = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const tokensSchema = z.looseObject({
  cls_token: tokenSchema,
  sep_token: tokenSchema,
  pad_token: tokenSchema,
  unk_token: tokenSchema,
  mask_token: tokenSchema,
  bos_token: tokenSchema,
  eos_token: tokenSchema,
});
const configSchema = tokensSchema.extend({
  do_lower_case: z.boolean().nullish(),
  strip_accents: z.boolean().nullish(),
  tokenize_chinese_chars: z.boolean().nullish(),
  add_prefix_space: z.boolean().nullish(),
});
const modelSchema = z.looseObject({
  type_vocab_size: z.int().min(0).nullish(),
  pad_token_id: z.int().min(0).nullish(),
});

type Files = Readonly<Record<'tokenizer_config.json' | 'special_tokens_map.json' | 'config.json', unknown>>;

/** @throws WinnowError `invalid_manifest` with file and field. */
export function readSettings(files: Files, pathOf: (name: string) => string): TokenizerSettings {
  const config = checked(configSchema, files['tokenizer_config.json'] ?? {}, pathOf('tokenizer_config.json'));
  const map = checked(tokensSchema, files['special_tokens_map.json'] ?? {}, pathOf('special_tokens_map.json'));
  const model = checked(modelSchema, files['config.json'] ?? {}, pathOf('config.json'));
  return {
    config,
    specialToken(name) {
      const token = (config[name] ?? map[name]) as z.infer<typeof tokenSchema>;
      return typeof token === 'string' ? token : token?.content;
    },
    tokenTypes: model.type_vocab_size ?? 2,
    padTokenId: model.pad_token_id ?? undefined,
  };
}

/**
 * The id that pads: the pad token's, else what config.json says, else what usual names have.
 * @throws WinnowError `invalid_manifest` where none of them tells.
 */
export function padIdOf(definition: Definition, settings: TokenizerSettings): number {
  const named = settings.specialToken('pad_token');
  const candidates = [named, '[PAD]', '<pad>'].map((t) => (t === undefined ? undefined : tokenId(definition, t)));
  const id = candidates[0] ?? settings.padTokenId ?? candidates[1] ?? candidates[2];
  if (id === undefined) throw refusal(definition.file, 'added_tokens', 'a pad token', named);
  return id;
}

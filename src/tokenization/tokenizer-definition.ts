import { z } from 'zod';
import { checkedPiece } from './definition-bounds.ts';
import { checked, refusal } from './refusal.ts';
import { checkExtent, MAX_TOKENS } from './tokenizer-limits.ts';

/** The content of `tokenizer.json`, checked as far as Winnow uses it. Truncation and padding settings are dropped: requests decide them. */
export interface Definition {
  /** The file of the definition, for error messages. */
  readonly file: string;
  readonly model: Model;
  readonly addedTokens: readonly AddedToken[];
  readonly normalizer: Part | null;
  readonly preTokenizer: Part | null;
  readonly postProcessor: Part | null;
  /** The largest piece of a text that normalizer and pre-tokenizer may get at once, in UTF-16 units. */
  readonly largestPiece: number;
  /** The whole object without truncation and padding, in the library's form. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export type AddedToken = z.infer<typeof addedTokenSchema>;
export type Part = z.infer<typeof partSchema>;
export type Model = WordPieceModel | BpeModel | UnigramModel;

export interface WordPieceModel {
  readonly type: 'WordPiece';
  readonly vocab: ReadonlyMap<string, number>;
  readonly unkToken: string;
  readonly prefix: string;
  /** Longer words, in code points, become the unknown token. */
  readonly maxWordLength: number;
}

export interface BpeModel {
  readonly type: 'BPE';
  readonly vocab: ReadonlyMap<string, number>;
  /** Pairs of symbols that are merged, in order of rank. */
  readonly merges: readonly (readonly [string, string])[];
  /** Whether all settings below have the values of plain byte-level BPE. */
  readonly plain: boolean;
  readonly unkToken: string | undefined;
  /** Whether neighboring unknown characters become one unknown token. */
  readonly fuseUnk: boolean;
  readonly byteFallback: boolean;
  /** Whether a word that is a token is taken as it is. */
  readonly ignoreMerges: boolean;
  /** What the vocabulary puts before characters that continue a word, and behind the last one. */
  readonly prefix: string;
  readonly suffix: string;
}

export interface UnigramModel {
  readonly type: 'Unigram';
  /** Piece and log probability; the index is the id. */
  readonly vocab: readonly (readonly [string, number])[];
  readonly unkId: number;
  readonly byteFallback: boolean;
  /** Ids of pieces that are never matched in text (control and byte pieces of a SentencePiece model). */
  readonly unmatched?: ReadonlySet<number>;
}

const addedTokenSchema = z.object({
  id: z.int().min(0).max(0x7fffffff),
  content: z.string(),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  special: z.boolean().default(false),
  normalized: z.boolean().optional(),
});

const partSchema = z.looseObject({ type: z.string() });

const outlineSchema = z.looseObject({
  added_tokens: z.array(addedTokenSchema).default([]),
  normalizer: partSchema.nullable().default(null),
  pre_tokenizer: partSchema.nullable().default(null),
  post_processor: partSchema.nullable().default(null),
  decoder: partSchema.nullable().default(null),
  model: z.looseObject({ type: z.string().optional(), vocab: z.unknown() }),
});

/** Words of more code points become the unknown token at the latest; known models set 100. */
const MAX_WORD_LENGTH = 1000;

const wordPieceSchema = z.looseObject({
  unk_token: z.string(),
  continuing_subword_prefix: z.string().default('##'),
  max_input_chars_per_word: z.int().min(1).max(MAX_WORD_LENGTH).default(100),
});

const bpeSchema = z.looseObject({
  unk_token: z.string().nullish(),
  fuse_unk: z.boolean().default(false),
  byte_fallback: z.boolean().default(false),
  ignore_merges: z.boolean().default(false),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
});

const unigramSchema = z.looseObject({ unk_id: z.int().min(0), byte_fallback: z.boolean().nullish() });

/**
 * Reads a parsed `tokenizer.json`.
 * @throws WinnowError `invalid_manifest` with file and field.
 */
export function readDefinition(json: unknown, file: string): Definition {
  checkExtent(json, file);
  const outline = checked(outlineSchema, json, file);
  const { truncation: _truncation, padding: _padding, ...raw } = outline;
  const model = readModel(outline.model, file);
  const addedTokens = withIds(outline.added_tokens, model);
  return {
    file,
    model,
    addedTokens,
    normalizer: outline.normalizer,
    preTokenizer: outline.pre_tokenizer,
    postProcessor: outline.post_processor,
    largestPiece: checkedPiece(outline, file),
    raw: { ...raw, added_tokens: addedTokens },
  };
}

/** Returns ids by token, with at least those of `tokens` that the vocabulary has. Of equal pieces the last one counts. */
export function idsInVocabulary(model: Model, tokens: Iterable<string>): ReadonlyMap<string, number> {
  if (model.type !== 'Unigram') return model.vocab;
  const wanted = new Set(tokens);
  const ids = new Map<string, number>();
  for (const [id, [piece]] of model.vocab.entries()) if (wanted.has(piece)) ids.set(piece, id);
  return ids;
}

/**
 * Returns added tokens with the ids that the Rust library gives them, whatever the file says: that of the vocabulary, else the next one
 * behind it.
 */
function withIds(tokens: readonly AddedToken[], model: Model): AddedToken[] {
  const known = idsInVocabulary(
    model,
    tokens.map(({ content }) => content),
  );
  const size = model.type === 'Unigram' ? model.vocab.length : model.vocab.size;
  const added = new Map<string, number>();
  let next = size;
  return tokens.map((token) => {
    const id = token.content === '' ? token.id : (added.get(token.content) ?? known.get(token.content) ?? next++);
    added.set(token.content, id);
    return { ...token, id };
  });
}

/**
 * Returns a definition with further tokens that are never split, as settings files beside it name them: those in the vocabulary, and those
 * whose id has an embedding. Others stay text.
 * @param embeddings How many the model has; undefined where nothing says so.
 */
export function withNamedTokens(
  definition: Definition,
  named: readonly Omit<AddedToken, 'id'>[],
  embeddings: number | undefined,
): Definition {
  const missing = new Map(named.map((token) => [token.content, token]));
  for (const { content } of [...definition.addedTokens, { content: '' }]) missing.delete(content);
  if (missing.size === 0) return definition;
  const { model } = definition;
  const known = idsInVocabulary(model, missing.keys());
  const candidates = [...missing.values()].map((token) => ({ ...token, id: 0 }));
  const addedTokens = withIds([...definition.addedTokens, ...candidates], model).filter(
    (token, i) => i < definition.addedTokens.length || known.has(token.content) || token.id < (embeddings ?? 0),
  );
  return { ...definition, addedTokens, raw: { ...definition.raw, added_tokens: addedTokens } };
}

function readModel(model: Readonly<Record<string, unknown>>, file: string): Model {
  const kind = modelType(model);
  if (kind === 'WordPiece') return readWordPiece(model, file);
  if (kind === 'Unigram') return readUnigram(model, file);
  if (kind === 'BPE') return readBpe(model, file);
  throw refusal(file, 'model.type', 'WordPiece, BPE or Unigram', model.type);
}

/** Returns the type of a model. Old files omit `model.type`; it then follows from the other fields, as in the library. */
function modelType(model: Readonly<Record<string, unknown>>): unknown {
  if (model.type !== undefined) return model.type;
  if (Array.isArray(model.vocab)) return 'Unigram';
  return 'merges' in model ? 'BPE' : 'WordPiece';
}

function readWordPiece(model: Readonly<Record<string, unknown>>, file: string): WordPieceModel {
  const vocab = readVocab(model.vocab, file);
  const settings = checked(wordPieceSchema, model, file, 'model');
  if (!vocab.has(settings.unk_token))
    throw refusal(file, 'model.vocab', `the unknown token ${settings.unk_token}`, 'a vocabulary without it');
  return {
    type: 'WordPiece',
    vocab,
    unkToken: settings.unk_token,
    prefix: settings.continuing_subword_prefix,
    maxWordLength: settings.max_input_chars_per_word,
  };
}

function readBpe(model: Readonly<Record<string, unknown>>, file: string): BpeModel {
  const vocab = readVocab(model.vocab, file);
  const merges = model.merges;
  if (!Array.isArray(merges)) throw refusal(file, 'model.merges', 'an array of merges', merges);
  checkCount(merges.length + 1, 'model.merges', file);
  const settings = checked(bpeSchema, model, file, 'model');
  const unkToken = settings.unk_token ?? undefined;
  if (unkToken !== undefined && !vocab.has(unkToken))
    throw refusal(file, 'model.unk_token', 'a token of the vocabulary', unkToken);
  const switches = {
    fuseUnk: settings.fuse_unk,
    byteFallback: settings.byte_fallback,
    ignoreMerges: settings.ignore_merges,
    prefix: settings.continuing_subword_prefix ?? '',
    suffix: settings.end_of_word_suffix ?? '',
  };
  return {
    type: 'BPE',
    vocab,
    merges: merges.map((merge, i) => readMerge(merge, i, file)),
    plain: Object.values(switches).every((value) => !value),
    unkToken,
    ...switches,
  };
}

/** Reads a merge: `["a", "b"]`, or `"a b"` in older files. */
function readMerge(merge: unknown, index: number, file: string): readonly [string, string] {
  const parts: unknown = typeof merge === 'string' ? merge.split(' ', 2) : merge;
  if (Array.isArray(parts) && parts.length === 2 && parts.every((part) => typeof part === 'string' && part !== ''))
    return parts as [string, string];
  throw refusal(file, `model.merges[${index}]`, 'two tokens', merge);
}

/** Checks a vocabulary of up to a million entries, without a schema for speed. */
function readVocab(vocab: unknown, file: string): ReadonlyMap<string, number> {
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab))
    throw refusal(file, 'model.vocab', 'an object from token to id', vocab);
  const entries = Object.entries(vocab);
  checkCount(entries.length, 'model.vocab', file);
  const ids = new Map<string, unknown>(entries);
  for (const [token, id] of ids)
    if (!isId(id)) throw refusal(file, `model.vocab[${JSON.stringify(token)}]`, 'an id (a whole number ≥ 0)', id);
  return ids as ReadonlyMap<string, number>;
}

function readUnigram(model: Readonly<Record<string, unknown>>, file: string): UnigramModel {
  const vocab = model.vocab;
  if (!Array.isArray(vocab)) throw refusal(file, 'model.vocab', 'an array of [piece, score]', vocab);
  checkCount(vocab.length, 'model.vocab', file);
  const wrong = vocab.findIndex(
    (entry) => !Array.isArray(entry) || typeof entry[0] !== 'string' || !Number.isFinite(entry[1]),
  );
  if (wrong >= 0) throw refusal(file, `model.vocab[${wrong}]`, '[piece, score]', vocab[wrong]);
  const settings = checked(unigramSchema, model, file, 'model');
  if (settings.unk_id >= vocab.length)
    throw refusal(file, 'model.unk_id', `an id below ${vocab.length}`, settings.unk_id);
  return {
    type: 'Unigram',
    vocab: vocab as [string, number][],
    unkId: settings.unk_id,
    byteFallback: settings.byte_fallback ?? false,
  };
}

function checkCount(count: number, field: string, file: string): void {
  if (count < 1 || count > MAX_TOKENS) throw refusal(file, field, `1 to ${MAX_TOKENS} entries`, count);
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0x7fffffff;
}

/** Returns the id of a token by its text; added tokens take precedence, as in the library. */
export function tokenId(definition: Definition, token: string): number | undefined {
  const added = definition.addedTokens.find((t) => t.content === token);
  if (added) return added.id;
  const { model } = definition;
  if (model.type !== 'Unigram') return model.vocab.get(token);
  const id = model.vocab.findIndex(([piece]) => piece === token);
  return id < 0 ? undefined : id;
}

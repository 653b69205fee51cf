import { refusal } from './refusal.ts';
import { type Definition, readDefinition } from './tokenizer-definition.ts';
import { MAX_TOKENS } from './tokenizer-limits.ts';
import type { TokenizerSettings } from './tokenizer-settings.ts';

type Vocab = Readonly<Record<string, number>>;

interface SpecialToken {
  readonly content: string;
  readonly id: number;
}

/** Finds the special tokens of a family by the names in the settings, else by the family's usual names. Only the mask may be missing. */
function specialTokens(
  vocab: Vocab,
  usual: Readonly<Record<string, string>>,
  settings: TokenizerSettings,
  file: string,
): Readonly<Record<string, SpecialToken>> {
  const found: Record<string, SpecialToken> = {};
  for (const [name, fallback] of Object.entries(usual)) {
    const content = settings.specialToken(name) ?? fallback;
    const id = Object.hasOwn(vocab, content) ? vocab[content] : undefined;
    if (id !== undefined) found[name] = { content, id };
    else if (name !== 'mask_token')
      throw refusal(file, name, `${content} in the vocabulary`, 'a vocabulary without it');
  }
  return found;
}

function addedTokens(special: Readonly<Record<string, SpecialToken>>): object[] {
  const unique = new Map(Object.entries(special).map(([name, token]) => [token.content, { name, ...token }]));
  return [...unique.values()].map(({ name, id, content }) => ({
    id,
    content,
    special: true,
    normalized: false,
    // RoBERTa's mask includes the blank before it.
    lstrip: name === 'mask_token' && content === '<mask>',
    rstrip: false,
  }));
}

/** The usual names of special tokens in RoBERTa's family. */
const ROBERTA_TOKENS = {
  cls_token: '<s>',
  sep_token: '</s>',
  unk_token: '<unk>',
  pad_token: '<pad>',
  mask_token: '<mask>',
} as const;

/** Builds byte-level BPE with RoBERTa's template from `vocab.json` and `merges.txt`. */
export function fromMerges(vocab: unknown, merges: string, file: string, settings: TokenizerSettings): Definition {
  if (settings.isDecoder)
    throw refusal(
      file,
      '(whole file)',
      'a tokenizer.json beside it, because a decoder splits texts otherwise than GPT-2',
      'none',
    );
  const lines = merges.split(/\r?\n/).filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')));
  const model = { type: 'BPE', vocab, merges: lines, unk_token: null, continuing_subword_prefix: '', fuse_unk: false };
  const addPrefixSpace = settings.config.add_prefix_space === true;
  const byteLevel = { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: true };
  if (typeof vocab !== 'object' || vocab === null)
    throw refusal(file, '(whole file)', 'an object from token to id', vocab);
  const special = specialTokens(vocab as Vocab, ROBERTA_TOKENS, settings, file);
  const pair = ({ content, id }: SpecialToken) => [content, id];
  const post = { type: 'RobertaProcessing', cls: pair(special.cls_token!), sep: pair(special.sep_token!) };
  return readDefinition(
    {
      model,
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: post,
      decoder: byteLevel,
      added_tokens: addedTokens(special),
    },
    file,
  );
}

/** The usual names of special tokens in BERT's family. */
export const BERT_TOKENS = {
  cls_token: '[CLS]',
  sep_token: '[SEP]',
  unk_token: '[UNK]',
  pad_token: '[PAD]',
  mask_token: '[MASK]',
} as const;

/** Builds WordPiece with BERT's template from `vocab.txt`, in which the line number is the id. */
export function fromVocabText(text: string, file: string, settings: TokenizerSettings): Definition {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  if (lines.length > MAX_TOKENS) throw refusal(file, '(whole file)', `at most ${MAX_TOKENS} lines`, lines.length);
  const vocab = Object.fromEntries(lines.map((token, id) => [token, id]));
  const special = specialTokens(vocab, BERT_TOKENS, settings, file);
  const { config } = settings;
  const pair = ({ content, id }: SpecialToken) => [content, id];
  return readDefinition(
    {
      model: { type: 'WordPiece', vocab, unk_token: special.unk_token!.content, continuing_subword_prefix: '##' },
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: config.tokenize_chinese_chars ?? true,
        strip_accents: config.strip_accents ?? null,
        lowercase: config.do_lower_case ?? true,
      },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      post_processor: { type: 'BertProcessing', cls: pair(special.cls_token!), sep: pair(special.sep_token!) },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
      added_tokens: addedTokens(special),
    },
    file,
  );
}

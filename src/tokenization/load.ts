import { createHash } from 'node:crypto';
import { WinnowError } from '../errors.ts';
import type { TextTemplate } from '../util/text-template.ts';
import { BpeModelEncoder, byteLevelBpeEncoder } from './bpe.ts';
import { normalizerFor } from './normalizers.ts';
import { NO_TOKENS, type PairTemplate, pairTemplate } from './pair-template.ts';
import { type Enough, PiecewiseEncoder } from './piecewise-encoder.ts';
import { preTokenizerFor } from './pre-tokenizers.ts';
import { refusal } from './refusal.ts';
import { type ModelEncoder, SectionEncoder } from './section-encoder.ts';
import { LARGE_PIECES, type PieceSizes } from './text-pieces.ts';
import type { TokenEncoder } from './token-encoder.ts';
import type { Definition, Model } from './tokenizer-definition.ts';
import { readTokenizerFolder, type TokenizerFolder } from './tokenizer-folder.ts';
import { padIdOf } from './tokenizer-settings.ts';
import { UnigramModelEncoder } from './unigram.ts';
import { wordPieceEncoder } from './wordpiece.ts';
import { WordPieceModelEncoder } from './wordpiece-model.ts';

type TokenizerFamily = 'wordpiece' | 'byte-level-bpe' | 'unigram';

/** Facts of a tokenizer, as plain data that can be sent between threads. */
export interface TokenizerFacts {
  readonly folder: string;
  readonly family: TokenizerFamily;
  /** Tokens around query and passage; none where the model has a template of texts. */
  readonly template: PairTemplate;
  /** Texts around query and passage, for models that read one text instead of a pair. */
  readonly texts: TextTemplate | undefined;
  readonly padId: number;
  /** Equal for tokenizers that give every text the same ids, whatever their folder, template, truncation or padding. */
  readonly textKey: string;
}

export interface LoadedTokenizer extends TokenizerFacts {
  /**
   * Returns the ids of a text, without the special tokens of the template. Lone surrogates count as U+FFFD.
   * @param enough Of a long text, reads only as much as these tokens need. Default: all of it.
   */
  encodeText(text: string, enough?: Enough): Int32Array<ArrayBuffer>;
}

const FAMILIES: Readonly<Record<Model['type'], TokenizerFamily>> = {
  WordPiece: 'wordpiece',
  BPE: 'byte-level-bpe',
  Unigram: 'unigram',
};

/** Reads the facts of a folder's tokenizer. Creating the encoder is expensive and left to the caller. */
export async function openTokenizer(
  folder: string,
): Promise<TokenizerFacts & { createEncoder(sizes: PieceSizes): PiecewiseEncoder }> {
  const source = await readTokenizerFolder(folder);
  return {
    folder,
    family: FAMILIES[source.definition.model.type],
    template: source.found ? NO_TOKENS : pairTemplate(source.definition, source.settings),
    texts: source.found?.template,
    padId: padIdOf(source.definition, source.settings),
    textKey: textKeyOf(source),
    createEncoder(sizes) {
      return new PiecewiseEncoder(checkedEncoder(source.definition), sizesFor(source.definition, sizes));
    },
  };
}

/**
 * Loads the tokenizer of a model folder.
 * @throws WinnowError `invalid_manifest` with file and field.
 */
export async function loadTokenizer(folder: string): Promise<LoadedTokenizer> {
  const { createEncoder, ...facts } = await openTokenizer(folder);
  const encoder = createEncoder(LARGE_PIECES);
  return { ...facts, encodeText: (text, enough) => encoder.encode(text, enough) };
}

/** Creates an encoder. Turns errors that only show here, such as a bad regular expression, into `invalid_manifest`. */
function checkedEncoder(definition: Definition): TokenEncoder {
  try {
    return createEncoder(definition);
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    throw refusal(definition.file, '(whole file)', 'a usable definition', String(error));
  }
}

/** Returns the sizes of pieces for a definition. */
function sizesFor({ largestPiece }: Definition, sizes: PieceSizes): PieceSizes {
  const most = Math.min(sizes.most, largestPiece);
  return { usual: Math.min(sizes.usual, most / 2), most };
}

function createEncoder(definition: Definition): TokenEncoder {
  return wordPieceEncoder(definition) ?? byteLevelBpeEncoder(definition) ?? sectionEncoder(definition);
}

/** Creates an encoder for any definition, which takes the Rust library's steps one by one. */
function sectionEncoder(definition: Definition): TokenEncoder {
  const { model, normalizer, preTokenizer, file } = definition;
  return new SectionEncoder(
    definition,
    normalizer === null ? null : normalizerFor(normalizer, file),
    preTokenizerFor(preTokenizer, file),
    modelEncoder(model, file),
  );
}

function modelEncoder(model: Model, file: string): ModelEncoder {
  if (model.type === 'WordPiece') return new WordPieceModelEncoder(model);
  return model.type === 'BPE' ? new BpeModelEncoder(model, file) : new UnigramModelEncoder(model);
}

function textKeyOf({ definition }: TokenizerFolder): string {
  const { post_processor: _post, decoder: _decoder, version: _version, ...textual } = definition.raw;
  return createHash('sha256').update(JSON.stringify(textual)).digest('base64url');
}

import { createHash } from 'node:crypto';
import { WinnowError } from '../errors.ts';
import { byteLevelBpeEncoder } from './bpe.ts';
import { LibraryEncoder } from './library-encoder.ts';
import { normalizerFor } from './normalizers.ts';
import { type PairTemplate, pairTemplate } from './pair-template.ts';
import { type Enough, PiecewiseEncoder } from './piecewise-encoder.ts';
import { preTokenizerFor } from './pre-tokenizers.ts';
import { refusal } from './refusal.ts';
import { SectionEncoder } from './section-encoder.ts';
import { LARGE_PIECES, type PieceSizes } from './text-pieces.ts';
import type { TokenEncoder } from './token-encoder.ts';
import type { Definition, Model } from './tokenizer-definition.ts';
import { readTokenizerFolder, type TokenizerFolder } from './tokenizer-folder.ts';
import { padIdOf } from './tokenizer-settings.ts';
import { UnigramModelEncoder } from './unigram.ts';
import { wordPieceEncoder } from './wordpiece.ts';

type TokenizerFamily = 'wordpiece' | 'byte-level-bpe' | 'unigram';

/** Facts of a tokenizer, as plain data that can be sent between threads. */
export interface TokenizerFacts {
  readonly folder: string;
  readonly family: TokenizerFamily;
  readonly template: PairTemplate;
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
    template: pairTemplate(source.definition, source.settings),
    padId: padIdOf(source.definition, source.settings),
    textKey: textKeyOf(source),
    createEncoder(sizes) {
      const encoder = checkedEncoder(source);
      return new PiecewiseEncoder(encoder, sizesFor(encoder, source.definition, sizes));
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
function checkedEncoder(source: TokenizerFolder): TokenEncoder {
  try {
    return createEncoder(source);
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    throw refusal(source.definition.file, '(whole file)', 'a usable definition', String(error));
  }
}

/** The library takes about 25 us for each character of a long word. */
const QUICK_IN_LIBRARY = 2 ** 15;

/**
 * Returns the sizes of pieces for an encoder. In threads that are not shared, the library gets as few as memory allows, because it prepends to
 * each piece what a definition prepends to a text.
 */
function sizesFor(encoder: TokenEncoder, { largestPiece }: Definition, sizes: PieceSizes): PieceSizes {
  const isLibrary = encoder instanceof LibraryEncoder;
  const most = Math.min(sizes.most, largestPiece, isLibrary && sizes !== LARGE_PIECES ? QUICK_IN_LIBRARY : sizes.most);
  return { usual: isLibrary ? most / 2 : Math.min(sizes.usual, most / 2), most };
}

/** Settings of `tokenizer_config.json` that change the ids of a text in the library. */
const TEXT_SWITCHES = ['remove_space', 'do_lowercase_and_remove_accent'] as const;

function createEncoder({ definition, settings }: TokenizerFolder): TokenEncoder {
  const isPlain = TEXT_SWITCHES.every((name) => settings.config[name] !== true);
  const own = isPlain
    ? (wordPieceEncoder(definition) ?? byteLevelBpeEncoder(definition) ?? unigramEncoder(definition))
    : undefined;
  return own ?? new LibraryEncoder(definition, settings.config);
}

/**
 * Creates an encoder for Unigram models; undefined for others. The library does not apply compiled character maps, and joins the pieces of
 * a text by spreading them as arguments, which fails on texts of about 100,000 tokens.
 */
function unigramEncoder(definition: Definition): TokenEncoder | undefined {
  const { model, normalizer, preTokenizer, file, addedTokens } = definition;
  if (model.type !== 'Unigram') return undefined;
  return new SectionEncoder(
    definition,
    normalizer === null ? null : normalizerFor(normalizer, file),
    preTokenizerFor(preTokenizer, file),
    new UnigramModelEncoder(model, addedTokens),
  );
}

function textKeyOf({ definition, settings }: TokenizerFolder): string {
  const { post_processor: _post, decoder: _decoder, version: _version, ...textual } = definition.raw;
  const switches = TEXT_SWITCHES.map((name) => settings.config[name] === true);
  return createHash('sha256')
    .update(JSON.stringify([textual, switches]))
    .digest('base64url');
}

import { BinaryReader } from '@bufbuild/protobuf/wire';
import { BERT_TOKENS } from './plain-vocabulary.ts';
import { refusal } from './refusal.ts';
import { type Definition, readDefinition, type UnigramModel } from './tokenizer-definition.ts';
import { MAX_TOKENS } from './tokenizer-limits.ts';
import type { TokenizerSettings } from './tokenizer-settings.ts';

/* `SentencePiece.Type` of sentencepiece_model.proto. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const UNUSED = 5;
const BYTE = 6;
/** Types that are never matched in text. */
const UNMATCHED: ReadonlySet<number> = new Set([UNKNOWN, CONTROL, UNUSED, BYTE]);
/** `TrainerSpec.ModelType`. */
const UNIGRAM = 1;

interface Piece {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

/** The parts of a `ModelProto` that decide the ids of a text. */
interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  /** Undefined if the file has no trainer specification, because it was truncated. */
  readonly modelType: number | undefined;
  readonly byteFallback: boolean;
  readonly charsmap: Uint8Array | undefined;
}

type Fields = Readonly<Record<number, (reader: BinaryReader) => void>>;

/** Reads one message: calls the readers of known fields and skips the others. @throws Error for bytes that are not a message. */
function readMessage(bytes: Uint8Array, fields: Fields): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    const read = fields[field];
    if (read === undefined) reader.skip(wire, field);
    else read(reader);
  }
}

function readPiece(bytes: Uint8Array): Piece {
  const piece = { text: '', score: 0, type: NORMAL };
  readMessage(bytes, {
    1: (r) => {
      piece.text = r.string();
    },
    2: (r) => {
      piece.score = r.float();
    },
    3: (r) => {
      piece.type = r.int32();
    },
  });
  return piece;
}

function readModel(bytes: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = [];
  const model: { -readonly [K in keyof SentencePieceModel]: SentencePieceModel[K] } = {
    pieces,
    modelType: undefined,
    byteFallback: false,
    charsmap: undefined,
  };
  readMessage(bytes, {
    1: (r) => {
      if (pieces.push(readPiece(r.bytes())) > MAX_TOKENS) throw new RangeError(`more than ${MAX_TOKENS} pieces`);
    },
    2: (r) => {
      model.modelType = UNIGRAM;
      readMessage(r.bytes(), {
        3: (t) => {
          model.modelType = t.int32();
        },
        35: (t) => {
          model.byteFallback = t.bool();
        },
      });
    },
    3: (r) =>
      readMessage(r.bytes(), {
        2: (n) => {
          model.charsmap = n.bytes();
        },
      }),
  });
  return model;
}

/**
 * Builds DeBERTa-v3's tokenizer from its SentencePiece model (`spm.model`), as Hugging Face's converter does: strip, compiled map, single
 * blanks; `[CLS] A [SEP] B [SEP]`; `[MASK]` after the last piece if the model has none. Byte fallback is as in the model.
 * @throws WinnowError `invalid_manifest`.
 */
export function fromSentencePiece(bytes: Uint8Array, file: string, settings: TokenizerSettings): Definition {
  const { pieces, charsmap, byteFallback } = parse(bytes, file);
  const special = specialTokens(pieces, file, settings);
  const unmatched = pieces.flatMap((piece, id) => (UNMATCHED.has(piece.type) ? [id] : []));
  const pair = ({ content, id }: Special[keyof Special]) => [content, id];
  const definition = readDefinition(
    {
      model: {
        type: 'Unigram',
        vocab: pieces.map(({ text, score }) => [text, score]),
        unk_id: pieces.findIndex((piece) => piece.type === UNKNOWN),
        byte_fallback: byteFallback,
      },
      normalizer: normalizerOf(charsmap, settings.config.do_lower_case === true),
      pre_tokenizer: { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true },
      post_processor: { type: 'BertProcessing', cls: pair(special.cls_token), sep: pair(special.sep_token) },
      added_tokens: Object.values(special).map((t) => ({ ...t, special: true, normalized: false })),
    },
    file,
  );
  const model = { ...(definition.model as UnigramModel), unmatched: new Set(unmatched) };
  return { ...definition, model, raw: { ...definition.raw, unmatched } };
}

function normalizerOf(charsmap: Uint8Array | undefined, lowercase: boolean): object {
  return {
    type: 'Sequence',
    normalizers: [
      ...(lowercase ? [{ type: 'Lowercase' }] : []),
      { type: 'Strip', strip_left: true, strip_right: true },
      { type: 'Precompiled', precompiled_charsmap: Buffer.from(charsmap ?? []).toString('base64') },
      { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
    ],
  };
}

function parse(bytes: Uint8Array, file: string): SentencePieceModel {
  let model: SentencePieceModel;
  try {
    model = readModel(bytes);
  } catch (error) {
    throw refusal(file, '(whole file)', 'a SentencePiece model', String(error));
  }
  if (model.modelType !== UNIGRAM)
    throw refusal(file, 'trainer_spec.model_type', `unigram (${UNIGRAM})`, model.modelType);
  return model;
}

type Special = Readonly<Record<keyof typeof BERT_TOKENS, { readonly content: string; readonly id: number }>>;

function specialTokens(pieces: readonly Piece[], file: string, settings: TokenizerSettings): Special {
  const entries = Object.entries(BERT_TOKENS).map(([name, usual]) => {
    const content = settings.specialToken(name) ?? usual;
    const id = pieces.findIndex((piece) => piece.text === content);
    if (id >= 0) return [name, { content, id }];
    if (name === 'mask_token') return [name, { content, id: pieces.length }];
    throw refusal(file, name, `the piece ${content}`, 'a model without it');
  });
  return Object.fromEntries(entries) as Special;
}

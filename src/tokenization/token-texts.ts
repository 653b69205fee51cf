import { BYTE_CHARACTERS } from './byte-characters.ts';
import type { Definition } from './tokenizer-definition.ts';
import { readTokenizerFolder } from './tokenizer-folder.ts';

/** Returns the text of a token by its id; empty for an id that the vocabulary does not have. */
export type TokenTexts = (id: number) => string;

const BYTES = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));
const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Returns the text of a token of bytes. Bytes that are not whole characters become U+FFFD. */
function fromByteCharacters(piece: string): string {
  const bytes = Array.from(piece, (character) => BYTES.get(character));
  return bytes.every((byte) => byte !== undefined) ? UTF8.decode(Uint8Array.from(bytes)) : piece;
}

/** What SentencePiece writes for a blank. */
const withBlanks = (piece: string) => piece.replaceAll('\u2581', ' ');

const without = (piece: string, prefix: string) => (piece.startsWith(prefix) ? piece.slice(prefix.length) : piece);

/** Whether the tokens stand for bytes, which the steps around the model say. */
const isByteLevel = ({ raw }: Definition) =>
  /"type":"ByteLevel"/.test(JSON.stringify([raw.normalizer, raw.pre_tokenizer, raw.decoder]));

/** Returns how tokens of a vocabulary are written as text. */
function reader(definition: Definition): (piece: string) => string {
  const { model } = definition;
  if (model.type === 'WordPiece') return (piece) => without(piece, model.prefix);
  return model.type === 'BPE' && isByteLevel(definition) ? fromByteCharacters : withBlanks;
}

function pieceTable({ model }: Definition): string[] {
  if (model.type === 'Unigram') return model.vocab.map(([piece]) => piece);
  const pieces: string[] = [];
  for (const [piece, id] of model.vocab) pieces[id] = piece;
  return pieces;
}

/**
 * Reads the texts of the tokens of a folder: without the marks of the vocabulary (`##`, `\u2581`, byte characters). Added tokens are as written.
 * @throws WinnowError `invalid_manifest` with file and field.
 */
export async function readTokenTexts(folder: string): Promise<TokenTexts> {
  const { definition } = await readTokenizerFolder(folder);
  const added = new Map(definition.addedTokens.map(({ id, content }) => [id, content]));
  const pieces = pieceTable(definition);
  const read = reader(definition);
  return (id) => added.get(id) ?? read(pieces[id] ?? '');
}

/** The characters that stand for bytes in GPT-2's vocabularies: printable bytes are themselves, the others start at U+0100. */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters();

function byteCharacters(): string[] {
  const isPrintable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let moved = 0;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(isPrintable(b) ? b : 256 + moved++));
}

const UTF8 = new TextEncoder();

/** Returns the characters that stand for the UTF-8 bytes of a well-formed text. */
export function inByteCharacters(text: string): string {
  let result = '';
  for (const byte of UTF8.encode(text)) result += BYTE_CHARACTERS[byte]!;
  return result;
}

/** GPT-2's words: English clitics, runs of letters, digits or other marks with an optional blank before, and runs of blanks. */
export const BYTE_LEVEL_WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

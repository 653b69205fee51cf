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

/** Returns the token that stands for a byte in models with byte fallback. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

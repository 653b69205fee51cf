const CLITICS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const BLANKS = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const BEFORE = String.raw`[^\r\n\p{L}\p{N}]?`;
const MARKS = String.raw` ?[^\s\p{L}\p{N}]+`;

/** Returns the words of o200k and its followers: a change from lower to upper case ends one. */
function byCase(clitics: string): string {
  return `${BEFORE}${UPPER}*${LOWER}+${clitics}|${BEFORE}${UPPER}+${LOWER}*${clitics}`;
}

/**
 * Patterns of known exporters: GPT-2, Llama 3, Qwen2, o200k, Mistral, DeepSeek. In theory `\s*[\r\n]+` takes the square of the length of a
 * text; here the branches after it take at once what it leaves, so these are as quick as others.
 */
export const KNOWN_PATTERNS: ReadonlySet<string> = new Set([
  String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  ...[String.raw`\p{N}`, String.raw`\p{N}{1,3}`].flatMap((digits) => [
    String.raw`${CLITICS}|${BEFORE}\p{L}+|${digits}|${MARKS}[\r\n]*|${BLANKS}`,
    String.raw`${CLITICS}|${BEFORE}[\p{L}\p{M}]+|${digits}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${BLANKS}`,
    String.raw`${byCase(`${CLITICS}?`)}|${digits}|${MARKS}[\r\n/]*|${BLANKS}`,
    String.raw`${byCase('')}|${digits}|${MARKS}[\r\n/]*|${BLANKS}`,
  ]),
  String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${'`'}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|${BLANKS}`,
]);

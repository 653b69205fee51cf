/** What `JSON.parse` passes to a reviver: the holder as `this`, the key, the value, and how a primitive value is written. */
type Reviver = (this: object, key: string, value: unknown, context?: { readonly source?: string }) => unknown;

const BACKSLASH = 92;
const COLON = 58;

const isSpace = (code: number): boolean => code === 32 || code === 10 || code === 13 || code === 9;

/** A key that is written with an escape: the positions of its quotes. */
interface EscapedKey {
  readonly start: number;
  readonly end: number;
}

/** Returns the position of the quote that closes the string opened at `start`, or -1. */
function closingQuote(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return -1;
}

/** Finds the keys that are written with an escape, in time linear in the length of the text. */
function escapedKeys(text: string): EscapedKey[] {
  const keys: EscapedKey[] = [];
  let slash = text.indexOf('\\');
  for (let start = text.indexOf('"'); start >= 0 && slash >= 0; ) {
    const end = closingQuote(text, start);
    if (end < 0) break;
    if (slash < start) slash = text.indexOf('\\', start);
    if (slash >= 0 && slash < end) {
      let next = end + 1;
      while (isSpace(text.charCodeAt(next))) next++;
      if (text.charCodeAt(next) === COLON) keys.push({ start, end });
    }
    start = text.indexOf('"', end + 1);
  }
  return keys;
}

/** What a key cannot hold without an escape. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON writes these as escapes
const NEEDS_ESCAPE = /["\\\u0000-\u001f]/;

/** Returns a name that does not occur in the text, to stand for keys. */
function unusedName(text: string): string {
  let name = 'key';
  while (text.includes(name)) name = `key${Math.random().toString(36).slice(2)}`;
  return name;
}

/** Writes the keys without escapes. Those that need one get a name in place of them: `names` gives what each stands for. */
function withoutEscapes(text: string, keys: readonly EscapedKey[]): { plain: string; names: Map<string, string> } {
  const name = unusedName(text);
  const stands = new Map<string, string>();
  const pieces: string[] = [];
  let from = 0;
  for (const { start, end } of keys) {
    // As a value, the text of a key is read right.
    const key = String(JSON.parse(text.slice(start, end + 1)));
    const stand = NEEDS_ESCAPE.test(key) ? (stands.get(key) ?? `${name}:${stands.size}`) : key;
    if (stand !== key) stands.set(key, stand);
    pieces.push(text.slice(from, start + 1), stand);
    from = end;
  }
  return { plain: pieces.join('') + text.slice(from), names: new Map([...stands].map(([key, stand]) => [stand, key])) };
}

function rename(holder: object, names: ReadonlyMap<string, string>): void {
  const fields = Object.entries(Object.getOwnPropertyDescriptors(holder));
  // Fields are defined anew in the order of the text, so that the object lists them as `JSON.parse` does.
  for (const [key] of fields) Reflect.deleteProperty(holder, key);
  for (const [key, field] of fields) Object.defineProperty(holder, names.get(key) ?? key, field);
}

/** Gives all objects within a parsed value the keys that `names` says. */
function renameAll(parsed: unknown, names: ReadonlyMap<string, string>): void {
  const waiting: unknown[] = [parsed];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== 'object' || value === null) continue;
    for (const item of Object.values(value)) if (typeof item === 'object' && item !== null) waiting.push(item);
    if (!Array.isArray(value) && Object.keys(value).some((key) => names.has(key))) rename(value, names);
  }
}

/**
 * Parses JSON as `JSON.parse` is specified. V8's own (Node 24 and 26) may read a key with an escape as another key that was parsed before,
 * anywhere in the process: after `{"h":[],"\\":0}`, `{"h":1,"\"":2}` has the key `\` (nodejs/node#63785). So keys with escapes are parsed
 * under names without, which are replaced afterwards. Text without such keys costs a search for backslashes.
 *
 * `reviver` gets the keys as the text means them. It must return its value as it is.
 *
 * @throws SyntaxError as `JSON.parse` does.
 */
export function parseJson(text: string, reviver?: Reviver): unknown {
  const keys = text.includes('\\') ? escapedKeys(text) : [];
  if (keys.length === 0) return JSON.parse(text, reviver);
  let names: Map<string, string>;
  let parsed: unknown;
  try {
    const written = withoutEscapes(text, keys);
    names = written.names;
    const named: Reviver | undefined =
      reviver &&
      function (key, value, context) {
        return reviver.call(this, names.get(key) ?? key, value, context);
      };
    parsed = JSON.parse(written.plain, named);
  } catch {
    // The text is malformed: its own error names the place.
    return JSON.parse(text, reviver);
  }
  if (names.size > 0) renameAll(parsed, names);
  return parsed;
}

/** Names of models, versions and labels: one path segment without special characters of file systems and shells. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export const NAME_RULE = 'letters, digits, ".", "_", "-" (128 at most, a letter or digit first, no "..")';

export function isName(text: string): boolean {
  return NAME.test(text) && !text.includes('..');
}

const PATH_LIMIT = 512;

/** Whether a relative path from a manifest or an ONNX file stays inside its folder. POSIX separators only. */
export function isSafePath(path: string): boolean {
  if (path === '' || path.length > PATH_LIMIT || /[\\:]|\p{Cc}/u.test(path)) return false;
  return path.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..');
}

export interface Reference {
  readonly name: string;
  readonly version?: string;
  readonly label?: string;
}

/** Parses `model`, `model@version` or `model:label`; returns undefined for other text. */
export function parseReference(text: string): Reference | undefined {
  const mark = /[@:]/.exec(text)?.[0];
  const [name = '', rest] = mark ? [text.slice(0, text.indexOf(mark)), text.slice(text.indexOf(mark) + 1)] : [text];
  if (!isName(name)) return undefined;
  if (rest === undefined) return { name };
  if (!isName(rest)) return undefined;
  return mark === '@' ? { name, version: rest } : { name, label: rest };
}

const isNumber = (version: string) => /^\d+$/.test(version);

/** Compares digits as numbers and other text by code point. (Creating an `Intl.Collator` would add 0.1 s to every start.) */
function compareNaturally(a: string, b: string): number {
  const [left, right] = [a.split(/(\d+)/), b.split(/(\d+)/)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x, y] = [left[i]!, right[i]!];
    // Every second part is a run of digits.
    const order = i % 2 === 1 ? Number(x) - Number(y) : 0;
    if (order !== 0) return order;
    if (x !== y) return x < y ? -1 : 1;
  }
  return left.length - right.length;
}

/** Compares versions, newest first: numbers descending, then names in descending natural order (`v10` before `v9`). */
export function compareVersions(a: string, b: string): number {
  if (isNumber(a) !== isNumber(b)) return isNumber(a) ? -1 : 1;
  return compareNaturally(b, a);
}

/** Shortens foreign text for an error message: at most 80 characters, without control characters. */
export function excerpt(text: string): string {
  const clean = text.replace(/\p{C}/gu, '\u{FFFD}');
  return clean.length > 80 ? `${clean.slice(0, 77)}…` : clean;
}

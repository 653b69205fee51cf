import { refusal } from './refusal.ts';

/*
 * A thread that runs out of heap inside the engine takes the whole process down, and its limit does not always turn that into an error of
 * the thread alone. So nothing a model folder holds or a client sends may need more memory than is bounded here.
 */

/** The largest configuration or special-token file, in bytes. */
export const MAX_SETTINGS_BYTES = 8 * 1024 * 1024;
export const MAX_TOKENS = 2 ** 21;
const MAX_VALUES = 200_000;
const MAX_DEPTH = 64;

/**
 * Refuses JSON with more than some 100,000 values or nested deeper than any real file, `model.vocab` and `model.merges` aside.
 * @throws WinnowError `invalid_manifest`.
 */
export function checkExtent(json: unknown, file: string): void {
  const { model, ...rest } = (typeof json === 'object' && json !== null ? json : {}) as { model?: object };
  const { vocab: _vocab, merges: _merges, ...settings } = (model ?? {}) as { vocab?: unknown; merges?: unknown };
  let values = 0;
  let level: unknown[] = Array.isArray(json) ? json : [rest, settings];
  for (let depth = 0; level.length > 0; depth++) {
    values += level.length;
    if (values > MAX_VALUES || depth > MAX_DEPTH)
      throw refusal(file, '(whole file)', `at most ${MAX_VALUES} values, ${MAX_DEPTH} deep`, 'more');
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []));
  }
}

/** Texts longer than this (in UTF-16 units) are tokenized piece by piece. */
const PIECE_UNITS = 2 ** 20;
/** How far back from there a blank is looked for. */
const SEARCHED_UNITS = 2 ** 16;

/**
 * Cuts a long text before a blank that stands alone, which changes no token of any family; where there is none within 64 Ki characters,
 * between two characters.
 */
export function* textPieces(text: string): Generator<string> {
  let start = 0;
  while (text.length - start > PIECE_UNITS) {
    const end = cutBefore(text, start + PIECE_UNITS);
    yield text.slice(start, end);
    start = end;
  }
  yield start === 0 ? text : text.slice(start);
}

function cutBefore(text: string, limit: number): number {
  for (let at = limit; at > limit - SEARCHED_UNITS; at--)
    if (text.charCodeAt(at) === 32 && isSolid(text.charCodeAt(at - 1)) && isSolid(text.charCodeAt(at + 1))) return at;
  const isPair = (text.charCodeAt(limit) & 0xfc00) === 0xdc00;
  return isPair ? limit - 1 : limit;
}

/** ASCII beyond the blank: certain neither to be white space nor to join with what stands beside it. */
function isSolid(unit: number): boolean {
  return unit > 32 && unit < 127;
}

import { refusal } from './refusal.ts';

/*
 * A thread that runs out of heap inside V8 can end the whole process; its resource limit does not always turn that into an error of the
 * thread alone. So the memory for everything in a model folder and in a request is limited here.
 */

/** The largest configuration or special-token file, in bytes. */
export const MAX_SETTINGS_BYTES = 8 * 1024 * 1024;
export const MAX_TOKENS = 2 ** 21;
const MAX_VALUES = 200_000;
const MAX_DEPTH = 64;

/**
 * Refuses JSON with more than `MAX_VALUES` values or `MAX_DEPTH` levels; `model.vocab` and `model.merges` do not count.
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

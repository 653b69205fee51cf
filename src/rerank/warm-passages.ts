import { WinnowError } from '../errors.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import type { EncodedRow } from '../tokenization/tokenization-types.ts';
import { noteEncoded, type PassageSharing, passageScope, withKeptRows } from './kept-passages.ts';
import { distinct } from './known-scores.ts';
import { pairOptions } from './pair-settings.ts';
import type { WarmAnswer, WarmRequest } from './passages-api.ts';
import { openScope, type RequestScope } from './request-scope.ts';
import { retryOverloaded } from './retry-overloaded.ts';
import { submitRows, tokenizing } from './run-rows.ts';
import { withModel } from './scoring.ts';
import type { MissingTask, ScoringDeps } from './scoring-types.ts';

/** Passages that are read at once: enough for full batches, few enough that values wait in little memory. */
const AT_ONCE = 128;

/** What became of some passages; lists have places in the request. */
interface Piece {
  readonly stored: number;
  readonly notKept: number;
  readonly tooLong: readonly number[];
  readonly leftOut: readonly number[];
  readonly tokens: number;
  readonly bytes: number;
  readonly tokenizeMs: number;
  readonly queueMs: number;
  readonly inferMs: number;
}

/** @throws WinnowError `invalid_field` for a model that reads passages with the query. */
function checkKind({ key, encoder }: ServedVersion): void {
  if (encoder) return;
  throw new WinnowError('invalid_field', {
    expected: 'a model of kind `bi-encoder` or `interaction`, which reads passages apart from the query',
    got: `${key}, a cross-encoder`,
    field: 'model',
  });
}

/** Returns what a model makes of each row, as bytes: token states, or a vector. */
async function valuesOf(deps: ScoringDeps, task: MissingTask, rows: readonly EncodedRow[], places: readonly number[]) {
  if (rows.length === 0) return { values: [], queueMs: 0, inferMs: 0 };
  const key = task.version.passages?.key;
  const { scores, pieces, queueMs, inferMs } = await submitRows(deps, task, rows, (row) => places[row], key);
  if (key !== undefined) return { values: pieces ?? [], queueMs, inferMs };
  const width = scores.byteLength / rows.length;
  const values = rows.map((_, row) => new Uint8Array(scores.buffer, scores.byteOffset + row * width, width));
  return { values, queueMs, inferMs };
}

/** Reads the passages at `task.missing`, unless they are kept. */
async function warmPiece(deps: ScoringDeps, sharing: PassageSharing, task: MissingTask): Promise<Piece> {
  const { version, request, missing, scope, options } = task;
  const texts = missing.map((place) => request.passages[place]!);
  const prefix = version.encoder?.passagePrefix ?? '';
  const { encoded, tokenizeMs } = await tokenizing(deps, task, (tokenizer, read) =>
    scope.guard(tokenizer.encodeTexts(texts, { ...read, prefix }, scope.signal)),
  );
  const refuses = !request.truncate && options.maxLength >= version.maxLength;
  const isLeft = (i: number) => refuses && encoded.overLength[i]!;
  const ofRow: number[] = [];
  const rows = encoded.rows.filter((_, row) => {
    const i = encoded.passageOf[row]!;
    if (!isLeft(i)) ofRow.push(i);
    return !isLeft(i);
  });
  let [tokens, queueMs, inferMs] = [0, 0, 0];
  const compute = async (places: readonly number[]) => {
    const chosen = places.map((place) => rows[place]!);
    const found = await valuesOf(
      deps,
      task,
      chosen,
      places.map((place) => missing[ofRow[place]!]!),
    );
    tokens += chosen.reduce((sum, { ids }) => sum + ids.length, 0);
    queueMs += found.queueMs;
    inferMs += found.inferMs;
    return found.values;
  };
  const { result: sizes, missed } = await withKeptRows(sharing, task, rows, compute, (values) =>
    values.map(({ byteLength }) => byteLength),
  );
  noteEncoded(sharing, task, inferMs);
  const keys = await scope.guard(sharing.cache.keys(passageScope(task, sharing.shared), rows));
  const isKept = sharing.cache.has(keys);
  const read = new Set(ofRow.filter((_, row) => missed[row]));
  const lost = new Set(ofRow.filter((_, row) => !isKept[row]));
  return {
    stored: [...read].filter((i) => !lost.has(i)).length,
    notKept: lost.size,
    tooLong: missing.filter((_, i) => encoded.truncated[i] || isLeft(i)),
    leftOut: missing.filter((_, i) => isLeft(i)),
    tokens,
    bytes: sizes.reduce((sum, size, row) => sum + (isKept[row] ? size : 0), 0),
    tokenizeMs,
    queueMs,
    inferMs,
  };
}

const sumOf = (pieces: readonly Piece[], of: (piece: Piece) => number): number =>
  pieces.reduce((sum, piece) => sum + of(piece), 0);

async function warmAll(
  deps: ScoringDeps,
  sharing: PassageSharing,
  request: WarmRequest,
  version: ServedVersion,
  scope: RequestScope,
): Promise<WarmAnswer> {
  checkKind(version);
  const { passages, model: _, deadlineMs: _deadline, ...cut } = request;
  const { once, placeOf } = await scope.guard(distinct(passages, [...passages.keys()], scope.signal));
  const options = pairOptions(cut, version, deps.settings);
  const all = { ...cut, query: '', passages, lane: 'batch' } as const;
  const pieces: Piece[] = [];
  for (let from = 0; from < once.length; from += AT_ONCE) {
    const task = { version, request: all, scope, options, missing: once.slice(from, from + AT_ONCE) };
    pieces.push(await retryOverloaded(deps.clock, scope, () => warmPiece(deps, sharing, task)));
  }
  const total = (of: (piece: Piece) => number) => sumOf(pieces, of);
  const placesOf = (of: (piece: Piece) => readonly number[]) => {
    const found = new Set(pieces.flatMap(of));
    return placeOf.flatMap((nth, place) => (found.has(once[nth]!) ? [place] : []));
  };
  const stored = total((piece) => piece.stored);
  const notKept = total((piece) => piece.notKept);
  const leftOut = placesOf((piece) => piece.leftOut).length;
  return {
    model: version.name,
    version: version.version,
    stored,
    // Texts that are there twice are read once.
    present: passages.length - stored - notKept - leftOut,
    notKept,
    tooLong: placesOf((piece) => piece.tooLong),
    leftOut,
    tokens: total(({ tokens }) => tokens),
    bytes: total(({ bytes }) => bytes),
    timings: {
      tokenizeMs: total(({ tokenizeMs }) => tokenizeMs),
      queueMs: total(({ queueMs }) => queueMs),
      inferMs: total(({ inferMs }) => inferMs),
      totalMs: deps.clock.now() - scope.startedAt,
    },
  };
}

/**
 * Reads passages by a model in the lane `batch`, so that requests find them kept. Waits where the scheduler has no room.
 * @throws WinnowError `invalid_field` (`model`) for a model that keeps nothing; those of registry, tokenizer and scheduler; the scope's.
 */
export async function warmPassages(
  deps: ScoringDeps,
  sharing: PassageSharing,
  request: WarmRequest,
): Promise<WarmAnswer> {
  const scope = openScope(deps.clock, request.deadlineMs, request.signal);
  try {
    return await withModel(deps, request.model, scope, (version) => warmAll(deps, sharing, request, version, scope));
  } catch (error) {
    throw scope.signal.aborted ? scope.signal.reason : error;
  } finally {
    scope.close();
  }
}

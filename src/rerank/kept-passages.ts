import type { PassageCache, PassageModel, PassageScope } from '../passages/passage-types.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import { LANES } from '../scheduling/scheduling-types.ts';
import type { EncodedRequest, EncodedRow } from '../tokenization/tokenization-types.ts';
import type { RequestScope } from './request-scope.ts';
import type { KeptPassages, RerankRequest } from './rerank-types.ts';

/** The passage cache, and who shares its entries. */
export interface PassageSharing {
  readonly cache: PassageCache;
  /** Whether requests of different API keys share entries. */
  readonly shared: boolean;
}

/** Whose passages are read, by which version. */
interface PassageTask {
  readonly version: ServedVersion;
  readonly request: Pick<RerankRequest, 'lane' | 'priority' | 'subject'>;
  readonly scope: Pick<RequestScope, 'guard'>;
}

/** What is kept of a request's passage rows. */
interface KeptRows<T> {
  readonly result: T;
  /** For each row, whether the model read it for this request. */
  readonly missed: readonly boolean[];
}

/** Returns what the cache knows a version by, without the salt of a request. */
export function versionFile({
  name,
  version,
  sha256,
  graphId = sha256,
  variant,
  provider,
}: ServedVersion): Omit<PassageModel, 'salt'> {
  return { name, version, sha256: graphId, variant, provider };
}

/** Returns what entries of a task depend on, in addition to the tokens of a row. Rows are cut already, so a request's own limits are in them. */
export function passageScope(
  { version, request }: Pick<PassageTask, 'version' | 'request'>,
  shared: boolean,
): PassageScope {
  return {
    model: { ...versionFile(version), salt: shared ? '' : (request.subject?.key ?? '') },
    passagePrefix: version.encoder?.passagePrefix ?? '',
    cut: String(version.maxLength),
  };
}

/**
 * Calls `use` with what a model makes of each passage row: bytes of any length, the same ones whether they were kept or are new. `compute`
 * runs rows of these places; its first call is always made, with no rows where all are kept, so that it can run the query.
 * @throws what `compute` and `use` throw, and the reason of the task's scope.
 */
export async function withKeptRows<T>(
  sharing: PassageSharing | undefined,
  task: PassageTask,
  rows: readonly EncodedRow[],
  compute: (rows: readonly number[]) => Promise<readonly Uint8Array[]>,
  use: (values: readonly Uint8Array[]) => T | Promise<T>,
): Promise<KeptRows<T>> {
  if (!sharing) {
    const values = await compute(Array.from(rows.keys()));
    return { result: await use(values), missed: rows.map(() => true) };
  }
  const { cache, shared } = sharing;
  const { request, scope } = task;
  const of = passageScope(task, shared);
  const keys = await scope.guard(cache.keys(of, rows));
  const urgency = {
    share: request.subject?.key ?? '',
    lane: LANES.indexOf(request.lane),
    priority: request.priority ?? 0,
  };
  const lengths = rows.map(({ ids }) => ids.length);
  const guard = <V>(promise: Promise<V>) => scope.guard(promise);
  return cache.hold({ model: of.model, keys, lengths, guard, ...urgency }, compute, async ({ values, missed }) => ({
    result: await use(values),
    missed,
  }));
}

/** Counts milliseconds in the engine for passage rows that were not kept. */
export function noteEncoded(
  sharing: PassageSharing | undefined,
  task: Pick<PassageTask, 'version' | 'request'>,
  ms: number,
) {
  sharing?.cache.noteEncoded(passageScope(task, sharing.shared).model, ms);
}

/** Returns for each passage whether the model read some row of it. */
export function readPassages(
  { passageOf }: Pick<EncodedRequest, 'passageOf'>,
  missed: readonly boolean[],
  passages: number,
) {
  const read = new Array<boolean>(passages).fill(false);
  for (const [row, isMiss] of missed.entries()) if (isMiss) read[passageOf[row]!] = true;
  return read;
}

/** Adds up what the cache did for several models or queries; undefined where none of them looks passages up. */
export function sumOfKept(all: readonly { readonly kept?: KeptPassages | undefined }[]): KeptPassages | undefined {
  const known = all.flatMap(({ kept }) => kept ?? []);
  if (known.length === 0) return undefined;
  return known.reduce((a, b) => ({ hits: a.hits + b.hits, misses: a.misses + b.misses }));
}

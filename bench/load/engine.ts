import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { pairsWithin } from '../../src/registry/pair-limits.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { EncodedRow, PairTokenizer } from '../../src/tokenization/tokenization-types.ts';
import type { LoadRequest } from './requests.ts';

export interface BareRow {
  readonly ids: readonly number[];
  readonly secondSegment: number;
}

/** Work of one process: a session and its batches. */
export interface BareJob {
  readonly file: string;
  readonly session: InferenceSession.SessionOptions;
  readonly batches: readonly (readonly BareRow[])[];
}

export interface Budget {
  readonly tokens: number;
  readonly rows: number;
}

/** Encodes requests to rows as the service does. */
export async function encodeRows(
  tokenizer: PairTokenizer,
  requests: readonly LoadRequest[],
  maxLength: number,
): Promise<readonly EncodedRow[]> {
  const encoded: EncodedRow[] = [];
  for (const { query, passages } of requests)
    encoded.push(...(await tokenizer.encode(query, passages, pairsWithin({ maxLength }))).rows);
  return encoded;
}

/** Encodes requests for the model in `folder`, as plain rows that another process can be sent. */
export async function encodeRequests(
  folder: string,
  requests: readonly LoadRequest[],
  maxLength: number,
): Promise<BareRow[]> {
  const tokenizer = await createLocalTokenizer(folder);
  const rows = await encodeRows(tokenizer, requests, maxLength);
  await tokenizer.close();
  return rows.map(({ ids, secondSegment }) => ({ ids: [...ids], secondSegment }));
}

/** Cuts rows, longest first, into batches within the budget: the least padding possible for these rows. */
export function sortedBatches(rows: readonly BareRow[], budget: Budget): BareRow[][] {
  const batches: BareRow[][] = [];
  for (const row of rows.toSorted((a, b) => b.ids.length - a.ids.length)) {
    const last = batches.at(-1);
    if (last && last.length < budget.rows && (last.length + 1) * last[0]!.ids.length <= budget.tokens) last.push(row);
    else batches.push([row]);
  }
  return batches;
}

export interface BareEngine {
  readonly pids: readonly number[];
  /** Runs all batches once. @returns seconds. */
  round(): Promise<number>;
  close(): void;
}

/**
 * Starts onnxruntime-node alone: `hosts` processes, each with a session of `threads` threads and its share of the batches.
 *
 * @param session the session's options; by default none but threads.
 */
export async function startBareEngine(
  file: string,
  layout: { readonly hosts: number; readonly threads: number },
  batches: readonly (readonly BareRow[])[],
  session: InferenceSession.SessionOptions = {
    intraOpNumThreads: layout.threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  },
): Promise<BareEngine> {
  const children: ChildProcess[] = Array.from({ length: layout.hosts }, () =>
    fork(join(import.meta.dirname, 'engine-host.ts')),
  );
  const answers = () => Promise.all(children.map((child) => once(child, 'message')));
  const ready = answers();
  children.forEach((child, i) => {
    child.send({
      file,
      session,
      batches: batches.filter((_, b) => b % layout.hosts === i),
    } satisfies BareJob);
  });
  await ready;
  return {
    pids: children.map((child) => child.pid!),
    async round() {
      const begin = performance.now();
      const done = answers();
      for (const child of children) child.send('go');
      await done;
      return (performance.now() - begin) / 1000;
    },
    close: () => {
      for (const child of children) child.kill();
    },
  };
}

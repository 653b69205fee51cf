import type { Provider } from './inference-types.ts';

/** `crashed`: it ended by itself; `killed`: its batch outlasted the limit; `faulty`: its device failed for good. */
export type LossCause = 'crashed' | 'killed' | 'faulty';

/** What happened to hosts and batches, for log and metrics. */
export type PoolEvent =
  | { readonly kind: 'ready'; readonly host: number; readonly pid: number; readonly provider: Provider }
  /** A host ended without having been asked to, or did not start. */
  | { readonly kind: 'lost'; readonly host: number; readonly cause: LossCause; readonly reason: string }
  /** A lost host is about to be replaced, `delayMs` from now. */
  | { readonly kind: 'restart'; readonly host: number; readonly delayMs: number }
  /** A host that grew over the memory limit has been replaced. */
  | { readonly kind: 'recycle'; readonly host: number; readonly rss: number }
  /** A batch lost with its host goes to another. */
  | { readonly kind: 'retry'; readonly host: number; readonly model: string; readonly reason: string }
  /** A failed batch was cut in half. */
  | { readonly kind: 'split'; readonly model: string }
  /** A host could not load a model the others hold (its file is gone); it serves the rest. */
  | { readonly kind: 'model_missing'; readonly host: number; readonly model: string; readonly reason: string }
  /** A line the runtime wrote to standard error. */
  | { readonly kind: 'output'; readonly host: number; readonly line: string };

/** Told of every event as it happens; must not throw. */
export type PoolObserver = (event: PoolEvent) => void;

export interface PoolFacts {
  readonly provider: Provider;
  readonly hosts: number;
  readonly threads: number;
  /** Hosts that take work now. */
  readonly alive: number;
  readonly restarts: number;
  readonly recycles: number;
  readonly kills: number;
  readonly retries: number;
  readonly splits: number;
  /** Batches that run or wait in a host's pipe. */
  readonly inFlight: number;
  /** Batches that wait for a host. */
  readonly waiting: number;
  /** Resident memory of each host as it last said, in bytes; 0 for one that is not there. */
  readonly rss: readonly number[];
}

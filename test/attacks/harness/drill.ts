import type { ServerProcess } from '../../../bench/load/server.ts';

/** What a drill gets to attack. */
export interface Target {
  /** A running server, with the shipped models, in the memory cgroup where there is one. */
  readonly server: ServerProcess;
  /** A folder of the drill's own, removed afterwards. */
  readonly folder: string;
  /** What the server's own process may grow by meanwhile, in MiB: more where drills run together. */
  readonly growthMiB: number;
  /** How long an ordinary request may take meanwhile, in ms: longer where drills run together. */
  readonly patienceMs: number;
  /** Starts another server like the first, with more flags or variables; it is stopped after the drill. */
  start(options?: {
    readonly flags?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  }): Promise<ServerProcess>;
}

export interface Outcome {
  /** Hostile acts done. */
  readonly tries: number;
  /** What must not have happened, in words; empty where the server held. */
  readonly failures: readonly string[];
  /** What was measured. */
  readonly seen: string;
}

/** One attack: what it does to a server, and what must hold meanwhile. */
export interface Drill {
  readonly name: string;
  /** What is done, in a few words. */
  readonly attack: string;
  /** Why it cannot run here; undefined where it can. */
  readonly skip?: () => string | undefined;
  /** Scale 1 is a few seconds of attack. */
  run(target: Target, scale: number): Promise<Outcome>;
}

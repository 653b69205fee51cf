import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/*
 * Where processes spend their processor time, by parts of the source tree, from the profiles that `node --cpu-prof` writes when they end.
 */

const profileSchema = z.object({
  nodes: z.array(
    z.object({
      id: z.number(),
      callFrame: z.object({ functionName: z.string(), url: z.string() }),
      children: z.array(z.number()).optional(),
    }),
  ),
  /** Microseconds of the monotonic clock. */
  startTime: z.number(),
  samples: z.array(z.number()),
  timeDeltas: z.array(z.number()),
});

type Profile = z.infer<typeof profileSchema>;

/** A stage, and what a frame of it has in its URL or as its name. */
export type StageRule = readonly [stage: string, frame: RegExp];

/** Stages of the process that speaks HTTP. The frame nearest to the sample decides, so that a helper counts where it is called. */
export const FRONT_STAGES: readonly StageRule[] = [
  ['metrics and log', /prom-client|src\/telemetry|src\/main\/observe/],
  ['parse', /src\/http\/json|src\/http\/middleware\/body|node_modules\/zod|src\/http\/dialects/],
  ['answer', /src\/http\/routes|src\/http\/scores/],
  ['tokenize', /src\/tokenization|src\/util\/digests/],
  ['queue', /src\/scheduling/],
  ['rank', /src\/rerank|src\/experiments|src\/registry/],
  ['to and from hosts', /src\/inference/],
  ['HTTP', /node:_http|node:net|node:http|node_modules\/(express|router|send|finalhandler|body-parser)|src\/http/],
];

/** Stages of an inference host. */
export const HOST_STAGES: readonly StageRule[] = [
  ['engine', /onnxruntime|node:internal\/process\/task_queues/],
  ['pad', /inference\/padding/],
  ['frames', /inference\/host|node:net|node:stream|node:internal\/streams/],
  ['reduce', /inference\/(reduction|session-table)/],
];

const IDLE = new Set(['(idle)', '(root)']);
const OWN_STAGE = new Map([
  ['(garbage collector)', 'garbage collection'],
  ['(program)', 'native code'],
]);

function stageOf(profile: Profile, rules: readonly StageRule[]): (id: number) => string | undefined {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(
    profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const known = new Map<number, string | undefined>();
  const find = (id: number): string | undefined => {
    const { functionName, url } = nodes.get(id)!.callFrame;
    if (IDLE.has(functionName)) return undefined;
    const own = OWN_STAGE.get(functionName);
    if (own !== undefined) return own;
    const found = rules.find(([, frame]) => frame.test(url))?.[0];
    if (found !== undefined) return found;
    const parent = parents.get(id);
    return (parent === undefined ? undefined : find(parent)) ?? 'other';
  };
  return (id) => {
    if (!known.has(id)) known.set(id, find(id));
    return known.get(id);
  };
}

/** Milliseconds by stage, of the samples between two moments of the monotonic clock in microseconds. */
export function stagesBetween(
  profile: Profile,
  rules: readonly StageRule[],
  [from, to]: readonly [number, number],
): ReadonlyMap<string, number> {
  const stage = stageOf(profile, rules);
  const sums = new Map<string, number>();
  let at = profile.startTime;
  profile.samples.forEach((id, i) => {
    const delta = profile.timeDeltas[i]!;
    at += delta;
    const name = at >= from && at <= to ? stage(id) : undefined;
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + delta / 1000);
  });
  return sums;
}

/** Reads the profiles of a process's main thread, and of its worker threads if `threads`. */
export function readProfiles(folder: string, pid: number, threads = false): readonly Profile[] {
  // CPU.<date>.<time>.<pid>.<thread>.<number>.cpuprofile
  return readdirSync(folder)
    .filter((name) => name.split('.')[3] === String(pid) && (name.split('.')[4] === '0') !== threads)
    .map((name) => profileSchema.parse(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
}

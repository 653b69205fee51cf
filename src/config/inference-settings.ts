import { z } from 'zod';
import { bytes, choice, integer, integers, toggle } from './setting-fields.ts';

const PROVIDERS = ['cuda', 'webgpu', 'cpu'] as const;

/** The settings of the inference hosts. */
export const inferenceSettings = z.strictObject({
  provider: choice(
    ['auto', ...PROVIDERS],
    'auto',
    'Chooses the execution provider. `auto` takes the first that works of cuda, webgpu on hardware, and cpu.',
  ),
  hosts: integer(
    0,
    256,
    0,
    'Sets the number of inference processes; 0 takes one for each core (from 8 cores on one less) as far as their memory fits the cgroup, with `cuda` one for each device. Each holds its own copy of every loaded model.',
  ),
  threads: integer(0, 256, 0, "Sets the threads of each process; 0 divides the cgroup's quota among the processes."),
  calibrate: toggle(
    false,
    'Measures at start which number of hosts and threads scores the default model fastest (CPU only, with both of them 0). The start takes longer.',
  ),
  rewrite: toggle(
    true,
    'Rewrites graphs that other tools exported before they serve on a CPU, checks their scores, and keeps them in `~/.cache/winnow/graphs`. `false` serves them as exported.',
  ),
  maxRssBytes: bytes(
    0,
    2 ** 42,
    4_294_967_296,
    'Limits the memory of an inference process; above it the process is replaced between two batches. The share of a process of the memory of the cgroup is the limit where it is less. 0 sets no limit.',
  ),
  batchTimeoutMs: integer(
    100,
    3_600_000,
    30_000,
    'Limits the milliseconds of a batch; a process that takes longer is killed and replaced. Predicted batches have 20 times their prediction, at least 2 s, if that is less. Half of `server.requestTimeoutMs`, or 2 s, is the limit where it is less.',
  ),
  outageGraceMs: integer(
    0,
    600_000,
    8000,
    'Sets the milliseconds without any inference process after which the service is not ready and waiting requests fail with 503. Raising it hides longer restarts.',
  ),
  outageLimitMs: integer(
    0,
    86_400_000,
    180_000,
    'Sets the milliseconds without any inference process after which `/health/live` fails, so that the platform restarts the service; 0: never. Processes are started again all the time.',
  ),
  device: integers(
    0,
    64,
    0,
    'Sets the index of the GPU for `cuda`, or several: each gets a process of its own with every loaded model, and all take batches from one queue. `hosts` is then 0 or a multiple of their number.',
  ),
});

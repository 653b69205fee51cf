import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type ErrorCode, WinnowError } from '../errors.ts';
import { hostEnvironment } from '../inference/host-environment.ts';
import { workerEntry } from '../util/worker-entry.ts';

/** What is written, and from what. */
export interface GraphJob {
  readonly folder: string;
  /** The ONNX file that is made. */
  readonly file: string;
  /** Names that the model is known by beside its folder's. */
  readonly names: readonly string[];
  /** Whether a file in half precision is written too, where the weights are. */
  readonly onGpu: boolean;
}

/** Files of many gigabytes on a slow disk take minutes; nothing takes an hour. */
const LIMIT_MS = 3_600_000;

const answerSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('written'), warnings: z.array(z.string()) }),
  z.object({
    kind: z.literal('refused'),
    code: z.string(),
    params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
  z.object({ kind: z.literal('failed'), message: z.string() }),
]);

/** What the process that writes a graph sends back. */
export type GraphAnswer = z.infer<typeof answerSchema>;

function warningsOf(message: unknown): readonly string[] {
  const answer = answerSchema.parse(message);
  if (answer.kind === 'refused') throw new WinnowError(answer.code as ErrorCode, answer.params);
  if (answer.kind === 'failed') throw new Error(answer.message);
  return answer.warnings;
}

/**
 * Writes the ONNX file of a folder that has weights (see `writeGraph`) in a child process: what it takes of memory and time is not the
 * service's.
 * @returns Warnings.
 * @throws WinnowError as `writeGraph` does, and `invalid_input` where the process ends without an answer, as it does where memory runs out.
 */
export function writeGraphInChild(job: GraphJob): Promise<readonly string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
  const ended = (got: string) =>
    reject(
      new WinnowError('invalid_input', { where: job.folder, expected: 'memory and time to build its graph', got }),
    );
  const child = fork(fileURLToPath(workerEntry('./graph-process', import.meta.url)), [], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
    env: hostEnvironment(process.env, {}),
    execArgv: [],
  });
  const timer = setTimeout(() => {
    ended(`no graph within ${LIMIT_MS / 60_000} minutes`);
    child.kill('SIGKILL');
  }, LIMIT_MS);
  child.once('message', (message) => {
    try {
      resolve(warningsOf(message));
    } catch (error) {
      reject(error);
    }
  });
  child.on('error', reject);
  child.once('exit', (code, signal) => ended(`a process that ended with ${signal ?? `code ${code}`}`));
  child.send(job, (error) => {
    if (error) reject(error);
  });
  return promise.finally(() => clearTimeout(timer));
}

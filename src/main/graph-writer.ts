import { z } from 'zod';
import { type ErrorCode, WinnowError } from '../errors.ts';
import { NoAnswer, runChildJob } from '../inference/child-job.ts';
import type { VectorForm } from '../util/pooling-modes.ts';
import { workerEntry } from '../util/worker-entry.ts';

/** What is written, and from what. */
export interface GraphJob {
  readonly folder: string;
  /** The ONNX file that is made. */
  readonly file: string;
  /** Names that the model is known by beside its folder's. */
  readonly names: readonly string[];
  /** Of a bi-encoder without modules. */
  readonly vectors?: VectorForm | undefined;
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
export async function writeGraphInChild(job: GraphJob): Promise<readonly string[]> {
  const module = workerEntry('./graph-process', import.meta.url);
  try {
    return warningsOf(await runChildJob(module, job, { limitMs: LIMIT_MS, stderr: 'inherit' }));
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    const got =
      error.end === undefined
        ? `no graph within ${LIMIT_MS / 60_000} minutes`
        : `a process that ended with ${error.end}`;
    const expected = 'memory and time to build its graph';
    throw new WinnowError('invalid_input', { where: job.folder, expected, got }, { cause: error });
  }
}

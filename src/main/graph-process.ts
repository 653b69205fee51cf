import { WinnowError } from '../errors.ts';
import type { GraphAnswer, GraphJob } from './graph-writer.ts';
import { writeGraph } from './write-graph.ts';

/*
 * The child process that writes the graph of a folder with weights. It ends with its parent's channel.
 */

async function answerTo({ folder, file, names, vectors, onGpu }: GraphJob): Promise<GraphAnswer> {
  try {
    return { kind: 'written', warnings: [...(await writeGraph(folder, file, names, vectors, onGpu))] };
  } catch (error) {
    if (error instanceof WinnowError) return { kind: 'refused', code: error.code, params: { ...error.params } };
    return { kind: 'failed', message: error instanceof Error ? error.message : String(error) };
  }
}

process.on('disconnect', () => process.exit(1));
process.once('message', async (job) => {
  const answer = await answerTo(job as GraphJob);
  process.send!(answer, () => process.exit(0));
});

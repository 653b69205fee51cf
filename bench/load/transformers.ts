import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TransformersJob } from './transformers-host.ts';

export interface TransformersPeer {
  /** Scores all requests once. */
  round(): Promise<{ readonly seconds: number; readonly rss: number }>;
  close(): void;
}

/** Starts @huggingface/transformers with the same model and requests in a process of its own. */
export async function startTransformers(job: TransformersJob): Promise<TransformersPeer> {
  const child = fork(join(import.meta.dirname, 'transformers-host.ts'));
  const failed = once(child, 'exit').then(([code]): never => {
    throw new Error(`@huggingface/transformers ended with ${code}`);
  });
  failed.catch(() => {});
  const answer = async () => ((await Promise.race([once(child, 'message'), failed])) as [unknown])[0];
  const ready = answer();
  child.send(job);
  await ready;
  return {
    async round() {
      const result = answer();
      child.send('go');
      return (await result) as { seconds: number; rss: number };
    },
    close: () => void child.kill(),
  };
}

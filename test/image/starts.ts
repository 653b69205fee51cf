import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isReady } from './ask.ts';
import type { Built } from './build.ts';
import { startContainer } from './container.ts';

interface Start {
  /** From the runtime's call until the server is ready, in seconds. */
  readonly wall: number;
  /** Processor time of all processes until then, in seconds. */
  readonly processor: number;
}

async function start({ image }: Built, root: string, isWithout: string | undefined): Promise<Start> {
  const begin = performance.now();
  const container = await startContainer({
    image,
    user: '1000:0',
    args: ['serve', '--port', '0'],
    mounts: [
      { source: join(root, 'models/minilm-l6-bce'), target: '/app/models/minilm-l6-bce', isWritable: false },
      ...(isWithout ? [{ source: isWithout, target: '/app/compile-cache', isWritable: false }] : []),
    ],
  });
  try {
    await isReady(container.url);
    const wall = (performance.now() - begin) / 1000;
    const processor = container.processorSeconds();
    await container.stop();
    return { wall, processor };
  } finally {
    container.remove();
  }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** Starts the image with and without its compiled code, in turns. @returns A line with both and their ratios. */
export async function compareStarts(built: Built, root: string, rounds: number): Promise<string> {
  const empty = mkdtempSync(join(tmpdir(), 'winnow-empty-'));
  chmodSync(empty, 0o755);
  const [having, lacking]: [Start[], Start[]] = [[], []];
  try {
    await start(built, root, undefined);
    for (let round = 0; round < rounds; round++) {
      having.push(await start(built, root, undefined));
      lacking.push(await start(built, root, empty));
    }
  } finally {
    rmSync(empty, { recursive: true, force: true });
  }
  const figures = (key: keyof Start) => {
    const [a, b] = [having, lacking].map((starts) => median(starts.map((one) => one[key])));
    const ratio = median(having.map((one, at) => one[key] / lacking[at]![key]));
    return `${a!.toFixed(2)} s against ${b!.toFixed(2)} s (${ratio.toFixed(2)}x)`;
  };
  return `ready with compiled code and without, ${rounds} starts in turns: ${figures('wall')}; processor time ${figures('processor')}`;
}

import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WORDS, writeTinyModel } from '../support/tiny-model.ts';
import { ask, isReady } from './ask.ts';
import type { Built } from './build.ts';
import { type Mount, runInContainer, startContainer } from './container.ts';
import type { Result } from './result.ts';
import { run } from './tools.ts';

/** Largest difference of a float32 logit between architectures. */
const MOST = 1e-4;
/** An activation at the edge of two of its 256 steps may become either, which moves a logit by more. */
const MOST_INT8 = 0.1;
const SHIPPED = ['minilm-l6-bce', 'minilm-l6-marginmse'];
const START_MS = 600_000;

interface Processor {
  /** What qemu emulates. */
  readonly cpu: string;
  /** By which instructions the engine multiplies 8-bit numbers. */
  readonly products: string;
  /** Part number in /proc/cpuinfo. Without one the engine reads no features, and takes the kernels that every processor has. */
  readonly part?: string;
}

const DOT: Processor = { cpu: 'cortex-a76', products: 'dot products', part: '0xd0b' };
const PROCESSORS: readonly Processor[] = [
  { cpu: 'cortex-a72', products: 'no 8-bit products' },
  DOT,
  { cpu: 'max', products: 'matrix products', part: '0xd0b' },
];

interface Subject {
  readonly model: string;
  readonly file: string;
  readonly vocabulary: number;
  readonly maxLength: number;
}

type Logits = Readonly<Record<string, readonly number[]>>;

/** Puts a small float32 model, shipped int8 models and the program that scores into a folder; paths are those in the container. */
async function prepare(folder: string, root: string): Promise<Subject[]> {
  await writeTinyModel(join(folder, 'models/float32/1'));
  const manifest = { format: 1, maxLength: 64, activation: 'sigmoid' };
  writeFileSync(join(folder, 'models/float32/1/model.json'), JSON.stringify(manifest));
  for (const name of SHIPPED) cpSync(join(root, 'models', name, '1/onnx'), join(folder, name), { recursive: true });
  cpSync(join(import.meta.dirname, 'logits.mjs'), join(folder, 'logits.mjs'));
  mkdirSync(join(folder, 'cpuinfo'));
  for (const { cpu, part } of PROCESSORS) if (part) writeFileSync(join(folder, 'cpuinfo', cpu), cpuinfo(part));
  run('chmod', ['-R', 'a+rX', folder]);
  return [
    { model: 'float32', file: '/check/models/float32/1/onnx/model.onnx', vocabulary: WORDS.length, maxLength: 64 },
    ...SHIPPED.map((model) => ({
      model,
      file: `/check/${model}/model_int8.onnx`,
      vocabulary: 30_522,
      maxLength: 64,
    })),
  ];
}

/** What an arm64 kernel says of two cores. The emulator shows this machine's text, and the engine's library for it crashes on that. */
function cpuinfo(part: string): string {
  const of = (core: number) =>
    [
      `processor\t: ${core}`,
      'BogoMIPS\t: 50.00',
      'Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid',
      'CPU implementer\t: 0x41',
      'CPU architecture: 8',
      'CPU variant\t: 0x1',
      `CPU part\t: ${part}`,
      'CPU revision\t: 1',
    ].join('\n');
  return `${of(0)}\n\n${of(1)}\n\n`;
}

/** Mounts for an emulated processor: the engine reads there which instructions it has. */
const processorMounts = (folder: string, { cpu, part }: Processor): Mount[] =>
  part
    ? [
        { source: '/sys', target: '/sys', isWritable: false },
        { source: join(folder, 'cpuinfo', cpu), target: '/proc/cpuinfo', isWritable: false },
      ]
    : [];

function logitsOf({ image }: Built, folder: string, subjects: readonly Subject[], processor?: Processor): Logits {
  const output = runInContainer(
    {
      image,
      user: '1000:0',
      env: processor ? { QEMU_CPU: processor.cpu } : {},
      mounts: [
        { source: folder, target: '/check', isWritable: false },
        ...(processor ? processorMounts(folder, processor) : []),
      ],
    },
    ['node', '/check/logits.mjs', JSON.stringify(subjects)],
  );
  return JSON.parse(output.trim().split('\n').at(-1)!).logits;
}

function compared(theirs: Logits, ours: Logits, { cpu, products }: Processor): Result[] {
  return Object.entries(theirs).map(([model, logits]) => {
    const expected = ours[model] ?? [];
    const differences = logits.map((logit, at) => Math.abs(logit - (expected[at] ?? Number.NaN)));
    const largest = Math.max(...differences);
    const near = differences.filter((difference) => difference <= MOST).length;
    const isFloat = model === 'float32';
    return {
      claim: `${cpu} (${products}), ${model}: logits of the engine as on amd64${isFloat ? '' : ', but for steps of int8'}`,
      seen: `${near} of ${logits.length} to ${MOST}, largest difference ${largest.toExponential(1)}`,
      passed: isFloat ? largest <= MOST : largest <= MOST_INT8 && near >= logits.length / 2,
    };
  });
}

const QUESTION = { query: WORDS[3]!, texts: [WORDS[23]!, `${WORDS[24]} ${WORDS[1]}`, WORDS[30]!, WORDS[7]!] };

/** Serves the float32 model. @returns Logits of an answer and the exit code after SIGTERM. */
async function served({ image }: Built, folder: string, processor?: Processor) {
  const container = await startContainer({
    image,
    user: '1000:0',
    args: ['serve', '--port', '0'],
    env: { WINNOW_SERVER_REQUEST_TIMEOUT_MS: '120000', ...(processor ? { QEMU_CPU: processor.cpu } : {}) },
    mounts: [
      { source: join(folder, 'models'), target: '/app/models', isWritable: false },
      ...(processor ? processorMounts(folder, processor) : []),
    ],
    startMs: START_MS,
  });
  try {
    const ready = await isReady(container.url, START_MS);
    const { status, logits } = await ask(container.url, QUESTION);
    return { ready, status, logits, code: await container.stop() };
  } finally {
    container.remove();
  }
}

async function lifeResult(built: Built, own: Built, folder: string): Promise<Result> {
  const [theirs, ours] = [await served(built, folder, DOT), await served(own, folder)];
  const largest = Math.max(...ours.logits.map((logit, at) => Math.abs(logit - (theirs.logits[at] ?? Number.NaN))));
  return {
    claim: `served on ${built.architecture}: ready, logits as on ${own.architecture} to ${MOST}, ends on SIGTERM`,
    seen: `${theirs.ready ? 'ready' : 'not ready'}, ${theirs.status}, largest difference ${largest.toExponential(1)}, exit code ${theirs.code}`,
    passed: theirs.ready && theirs.status === 200 && largest <= MOST && theirs.code === 0,
  };
}

/** Runs the image for arm64 emulated, and compares its scores with those of the image for amd64. */
export async function sameScores(built: Built, own: Built, root: string): Promise<Result[]> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-scores-'));
  try {
    const subjects = await prepare(folder, root);
    const ours = logitsOf(own, folder, subjects);
    const engine = PROCESSORS.flatMap((one) => compared(logitsOf(built, folder, subjects, one), ours, one));
    return [await lifeResult(built, own, folder), ...engine];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

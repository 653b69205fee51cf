import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { within } from '../../src/util/within.ts';
import type { Contestant, Layout } from './contestant.ts';
import type { RunName, SideJob } from './protocol.ts';
import { batchesOf, mixedBatches, type Work } from './work.ts';

interface Answer {
  readonly ready?: string;
  readonly scores?: readonly number[];
}

/** Last characters of the error output that are kept. */
const KEPT = 8000;

/** Returns the line that says what went wrong: Node writes it above the stack, Python below it. */
function reasonIn(errors: string): string {
  const lines = errors.trim().split('\n');
  return (lines.findLast((line) => /^\s*[\w.]*(Error|Exception)\b/.test(line)) ?? lines.at(-1) ?? '').trim();
}

/** A process that speaks the protocol. */
class SideProcess {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #deadlineMs: number;
  #errors = '';

  constructor([program, ...args]: readonly [string, ...string[]], deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
    this.child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, TQDM_DISABLE: '1', TOKENIZERS_PARALLELISM: 'false', TRANSFORMERS_VERBOSITY: 'error' },
    });
    this.child.on('error', (error) => {
      this.#errors += error.message;
    });
    // A process that has ended says so by the end of its output.
    this.child.stdin!.on('error', () => {});
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-KEPT);
    });
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  async #answer(): Promise<Answer> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`expected an answer, got the end of the process: ${reasonIn(this.#errors)}`);
      // Libraries write other lines to standard output too.
      if (value.startsWith('{')) return JSON.parse(value) as Answer;
    }
  }

  /** Waits for the next answer. @throws Error at the process's end and at the deadline, which kills the process. */
  async answer(): Promise<Answer> {
    const seconds = this.#deadlineMs / 1000;
    const late = () => new Error(`expected an answer within ${seconds} s, got none (--deadline)`);
    try {
      return await within(this.#deadlineMs, this.#answer(), late);
    } catch (error) {
      this.kill();
      throw error;
    }
  }

  async run(run: RunName): Promise<Answer> {
    this.child.stdin!.write(`${JSON.stringify({ run })}\n`);
    return this.answer();
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}

/** How a contestant of processes is started. */
export interface SideSpec {
  readonly file: string;
  readonly precision?: string;
  /** Padded tokens of a batch, for engines that get token ids; programs that get texts form their own batches. */
  readonly tokens?: number;
  /** Returns the command of a process. @param job file with its `SideJob`. */
  readonly command: (job: string) => readonly [string, ...string[]];
}

/** Pairs that warm a program up that gets texts. */
const WARM_PAIRS = 64;

/** Returns the jobs of the processes: process p of n has the batches p, p + n, p + 2n … */
export function jobsOf(work: Work, { file, precision = 'f32', tokens }: SideSpec, layout: Layout): SideJob[] {
  const { processes, threads } = layout;
  const share = <T>(values: readonly T[], at: number) => values.filter((_, i) => i % processes === at);
  const cut = (places: readonly number[], at: number) =>
    tokens === undefined ? [share(places, at)] : share(batchesOf(work, places, tokens), at);
  return Array.from({ length: processes }, (_, at) => {
    const speed = cut(work.speed, at);
    return {
      file,
      precision,
      threads,
      maxLength: work.maxLength,
      rows: tokens === undefined ? [] : work.rows.map(({ ids, secondSegment }) => [ids, secondSegment] as const),
      pairs: tokens === undefined ? work.pairs : [],
      warm: tokens === undefined ? [speed[0]!.slice(0, WARM_PAIRS)] : speed.slice(0, 3),
      speed,
      all: cut([...work.pairs.keys()], at),
      alone: share(
        work.alone.map((place) => [place]),
        at,
      ),
      mixed: share(mixedBatches(work, tokens), at),
    };
  });
}

/**
 * Starts the processes of a contestant and waits until they are warm.
 * @throws Error with the end of the error output of a process that ended; at the deadline.
 */
export async function startSides(work: Work, spec: SideSpec, layout: Layout, deadlineMs: number): Promise<Contestant> {
  const at = mkdtempSync(join(tmpdir(), 'winnow-peer-'));
  const jobs = jobsOf(work, spec, layout);
  const sides = jobs.map((job, i) => {
    const path = join(at, `${i}.json`);
    writeFileSync(path, JSON.stringify(job));
    return new SideProcess(spec.command(path), deadlineMs);
  });
  const close = async () => {
    for (const side of sides) side.kill();
    rmSync(at, { recursive: true, force: true });
  };
  const scored = async (run: RunName) => {
    const answers = await Promise.all(sides.map((side) => side.run(run)));
    const found = new Map<number, number>();
    jobs.forEach((job, i) => {
      const { scores = [] } = answers[i]!;
      for (const [n, place] of job[run].flat().entries()) found.set(place, scores[n] ?? Number.NaN);
    });
    return found;
  };
  try {
    const answers = await Promise.all(sides.map((side) => side.answer()));
    return {
      version: answers[0]!.ready ?? '',
      pids: sides.map(({ child }) => child.pid!),
      round: async () => void (await Promise.all(sides.map((side) => side.run('speed')))),
      async together() {
        const found = await scored('all');
        return Float64Array.from(work.pairs, (_, i) => found.get(i)!);
      },
      async alone() {
        const found = await scored('alone');
        return Float64Array.from(work.alone, (place) => found.get(place)!);
      },
      async mixed() {
        const found = await scored('mixed');
        return Float64Array.from(work.alone, (place) => found.get(place)!);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

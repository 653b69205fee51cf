import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { shippedRelevance } from '../support/shipped.ts';
import type { Client } from './catalog.ts';
import type { Command } from './setup.ts';
import type { Tap } from './tap.ts';

const DRIVER_MS = 120_000;

/** What every client is asked, and what it must find. */
export interface Question {
  readonly model: string;
  readonly query: string;
  readonly documents: readonly string[];
  /** Raw scores, from the plainest request there is. */
  readonly logits: readonly number[];
}

export interface Call {
  readonly client: string;
  readonly language: Client['language'];
  /** Package and version. */
  readonly version: string;
  /** The client's function or class that was called. */
  readonly call: string;
  /** Method, path as the client wrote it, and status of each request, joined by commas. */
  readonly requests: string;
  /** What was wrong; absent if the call did what its user expects. */
  readonly fault?: string;
  /** What the client made of the answer. */
  readonly seen: string;
}

/** A line of a driver, with package and version: entries in the client's order, or what was seen of a call that ranks nothing, or what it threw. */
type Line = { readonly version: string; readonly call: string } & (
  | { readonly ranked: readonly (readonly [index: number, score: number | null])[]; readonly want: number }
  | { readonly seen: string }
  | { readonly error: string }
);

const near = (a: number, b: number) => Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(b));

/** Compares a ranking with the model's scores: the right passages, in the right order, each with the right number. */
function judge(
  ranked: Extract<Line, { ranked: unknown }>['ranked'],
  want: number,
  { logits }: Question,
): Pick<Call, 'seen' | 'fault'> {
  const order = logits.map((_, i) => i).toSorted((a, b) => logits[b]! - logits[a]!);
  const got = ranked.map(([index]) => index);
  const scales = {
    probabilities: (index: number, score: number) => near(score, shippedRelevance(logits[index] ?? Number.NaN)),
    logits: (index: number, score: number) => near(score, logits[index] ?? Number.NaN),
  };
  const scored = ranked.filter((entry): entry is [number, number] => entry[1] !== null);
  const scale = Object.entries(scales).find(([, fits]) => scored.every(([index, score]) => fits(index, score)))?.[0];
  const seen = `${got.join(' ')}${scored.length > 0 && scale ? `, ${scale}` : ''}`;
  const expected = order.slice(0, want);
  if (got.join() !== expected.join())
    return { seen, fault: `expected the order ${expected.join(' ')}, got ${got.join(' ')}` };
  if (scored.length > 0 && !scale)
    return { seen, fault: `expected the model's scores, got ${scored.map(([, score]) => score).join(' ')}` };
  return { seen };
}

function parse(text: string): Line | undefined {
  if (!text.startsWith('{"')) return undefined;
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === 'object' && line !== null && 'call' in line ? (line as Line) : undefined;
  } catch {
    return undefined;
  }
}

const requestsOf = (tap: Tap) =>
  tap
    .take()
    .map(({ method, path, status }) => `${method} ${path} ${status ?? 'without answer'}`)
    .join(', ');

function toCall(client: Client, line: Line, question: Question, tap: Tap): Call {
  const requests = requestsOf(tap);
  const { name, language } = client;
  const head = { client: name, language, version: line.version, call: line.call, requests };
  if ('error' in line) return { ...head, seen: '', fault: line.error };
  if ('seen' in line) return { ...head, seen: line.seen };
  return { ...head, ...judge(line.ranked, line.want, question) };
}

/**
 * Runs a client's driver and returns its calls. The driver waits for a line on its standard input after each, so that each request belongs to one call.
 * `record` gets the bytes that each call sent. A driver that fails or makes no call counts as one failed call.
 */
export async function drive(
  client: Client,
  command: Command,
  tap: Tap,
  question: Question,
  record: (call: string, bytes: Buffer) => void,
): Promise<Call[]> {
  const calls: Call[] = [];
  tap.take();
  tap.takeBytes();
  const { model, query, documents } = question;
  const child = spawn(command.program, command.args, {
    env: { ...process.env, WINNOW_URL: tap.url, WINNOW_QUESTION: JSON.stringify({ model, query, documents }) },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), DRIVER_MS);
  let noise = '';
  child.stderr.on('data', (chunk: Buffer) => {
    noise = (noise + chunk.toString()).slice(-4000);
  });
  // The driver may end before it reads the last line.
  child.stdin.on('error', () => {});
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = parse(text);
    if (!line) return;
    calls.push(toCall(client, line, question, tap));
    record(line.call, tap.takeBytes());
    child.stdin.write('\n');
  });
  const ended = await new Promise<string | undefined>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) =>
      resolve(code === 0 ? undefined : `ended with ${signal ?? code}: ${noise.trim().split('\n').at(-1)}`),
    );
  });
  clearTimeout(timer);
  if (ended !== undefined || calls.length === 0) {
    const requests = requestsOf(tap);
    calls.push({
      client: client.name,
      language: client.language,
      version: '',
      call: 'the driver',
      requests,
      seen: '',
      fault: ended ?? 'made no call',
    });
  }
  return calls;
}

import { setTimeout as pause } from 'node:timers/promises';
import { describe, WinnowError } from '../../../errors.ts';
import type { Message } from './prompt.ts';

interface Usage {
  readonly prompt: number;
  readonly completion: number;
}

export interface Completion {
  readonly text: string;
  readonly usage: Usage;
}

interface ClientOptions {
  /** Where `/chat/completions` is, such as `http://localhost:11434/v1`. */
  readonly base: string;
  readonly model: string;
  readonly apiKey?: string | undefined;
  readonly temperature: number;
  readonly maxTokens?: number | undefined;
  /** Tries of one request, the first included. */
  readonly attempts: number;
  readonly timeoutMs: number;
  /** Waits between tries; tests give one that does not. */
  readonly wait?: (ms: number) => Promise<void>;
}

export interface ChatClient {
  /** @throws WinnowError `inference_failed` when all tries are used up, or at once for requests that no try can save. */
  complete(messages: readonly Message[]): Promise<Completion>;
}

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
/** Worth another try: time-outs, too many requests, trouble on the other side. */
const passing = (status: number): boolean => status === 408 || status === 409 || status === 429 || status >= 500;

/** Milliseconds that `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3). */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  if (header.trim() !== '' && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

class Passing extends Error {
  readonly afterMs: number | undefined;
  constructor(message: string, afterMs?: number) {
    super(message);
    this.afterMs = afterMs;
  }
}

interface Body {
  readonly choices?: readonly { readonly message?: { readonly content?: unknown } }[];
  readonly usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number };
}

function read(body: Body): Completion {
  const text = body.choices?.[0]?.message?.content;
  if (typeof text !== 'string') throw new Passing(`expected choices[0].message.content, got ${describe(text)}`);
  return { text, usage: { prompt: body.usage?.prompt_tokens ?? 0, completion: body.usage?.completion_tokens ?? 0 } };
}

async function once(options: ClientOptions, messages: readonly Message[]): Promise<Completion> {
  const { base, model, apiKey, temperature, maxTokens, timeoutMs } = options;
  let response: Response;
  try {
    response = await fetch(`${base.replace(/\/+$/, '')}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(apiKey && { authorization: `Bearer ${apiKey}` }) },
      body: JSON.stringify({ model, messages, temperature, ...(maxTokens && { max_tokens: maxTokens }) }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (response.ok) return read((await response.json()) as Body);
  } catch (error) {
    if (error instanceof Passing) throw error;
    throw new Passing(
      `${(error as Error).message}${(error as Error).cause ? ` (${String((error as Error).cause)})` : ''}`,
    );
  }
  const said = `${response.status} ${(await response.text().catch(() => '')).slice(0, 200)}`;
  if (passing(response.status)) throw new Passing(said, retryAfterMs(response.headers.get('retry-after'), Date.now()));
  throw new WinnowError('inference_failed', { reason: `${base} answered ${said}` });
}

/** A client of one model behind an OpenAI-compatible endpoint. Doubles its pauses, or waits as long as `Retry-After` says. */
export function chatClient(options: ClientOptions): ChatClient {
  const wait = options.wait ?? ((ms: number) => pause(ms));
  return {
    async complete(messages) {
      for (let attempt = 1; ; attempt++)
        try {
          return await once(options, messages);
        } catch (error) {
          if (!(error instanceof Passing)) throw error;
          if (attempt >= options.attempts)
            throw new WinnowError(
              'inference_failed',
              { reason: `${options.base}, ${attempt} tries: ${error.message}` },
              { cause: error },
            );
          await wait(error.afterMs ?? Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1)));
        }
    },
  };
}

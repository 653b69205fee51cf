import { describe, WinnowError } from '../../../errors.ts';
import { RetriableError, retry, retryAfterMs } from '../../../util/retry.ts';
import type { Message } from './prompt.ts';

/** Tokens that were billed. */
interface Usage {
  readonly prompt: number;
  readonly completion: number;
}

export interface Completion {
  readonly text: string;
  readonly usage: Usage;
}

export interface ClientOptions {
  /** URL without `/chat/completions`, such as `http://localhost:11434/v1`. */
  readonly base: string;
  readonly model: string;
  readonly apiKey?: string | undefined;
  readonly temperature: number;
  readonly maxTokens?: number | undefined;
  /** Attempts per request, the first included. */
  readonly attempts: number;
  readonly timeoutMs: number;
  /** Waits between attempts; a timer by default. */
  readonly wait?: (ms: number) => Promise<void>;
}

export interface ChatClient {
  /** Completes a chat. @throws WinnowError `inference_failed` after the last attempt, or at once for errors that a retry cannot help. */
  complete(messages: readonly Message[]): Promise<Completion>;
}

/** Milliseconds before the first retry; doubled for each further one. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
/** Whether a request with this status is retried: timeout, conflict, too many requests, server error. */
const isRetriable = (status: number): boolean => status === 408 || status === 409 || status === 429 || status >= 500;

interface Body {
  readonly choices?: readonly { readonly message?: { readonly content?: unknown } }[];
  readonly usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number };
}

function read(body: Body): Completion {
  const text = body.choices?.[0]?.message?.content;
  if (typeof text !== 'string') throw new RetriableError(`expected choices[0].message.content, got ${describe(text)}`);
  return { text, usage: { prompt: body.usage?.prompt_tokens ?? 0, completion: body.usage?.completion_tokens ?? 0 } };
}

async function request(options: ClientOptions, messages: readonly Message[]): Promise<Completion> {
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
    if (error instanceof RetriableError) throw error;
    throw new RetriableError(
      `${(error as Error).message}${(error as Error).cause ? ` (${String((error as Error).cause)})` : ''}`,
    );
  }
  const answer = `${response.status} ${(await response.text().catch(() => '')).slice(0, 200)}`;
  if (isRetriable(response.status))
    throw new RetriableError(answer, { afterMs: retryAfterMs(response.headers.get('retry-after'), Date.now()) });
  throw new WinnowError('inference_failed', { reason: `${base} answered ${answer}` });
}

/** Creates a client of one model behind an OpenAI-compatible endpoint. Pauses between attempts double, unless `Retry-After` is given. */
export function chatClient(options: ClientOptions): ChatClient {
  const { base, attempts, wait } = options;
  const pauses = { attempts, firstPauseMs: FIRST_PAUSE_MS, longestPauseMs: LONGEST_PAUSE_MS, wait };
  return {
    async complete(messages) {
      try {
        return await retry(() => request(options, messages), pauses);
      } catch (error) {
        if (!(error instanceof RetriableError)) throw error;
        const reason = `${base}, ${attempts} attempts: ${error.message}`;
        throw new WinnowError('inference_failed', { reason }, { cause: error });
      }
    },
  };
}

import { Agent, request } from 'node:http';
import type { LoadRequest } from './requests.ts';

export interface Answer {
  /** HTTP status; 0 if there was no answer (`error` says why). */
  readonly status: number;
  readonly error?: string;
  /** Raw scores in the order of the passages sent. */
  readonly scores?: Float32Array;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface LoadClient {
  rerank(request: LoadRequest, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  close(): void;
}

/** Returns the error code of an answer, else the beginning of its text. */
function reasonOf(text: string): string {
  try {
    return String(JSON.parse(text).code ?? text.slice(0, 80));
  } catch {
    return text.slice(0, 80);
  }
}

function parse(status: number, text: string, headers: Answer['headers'], count: number): Answer {
  if (status !== 200) return { status, headers, error: reasonOf(text) };
  const scores = new Float32Array(count).fill(Number.NaN);
  for (const { index, score } of JSON.parse(text) as { index: number; score: number }[]) scores[index] = score;
  return scores.every(Number.isFinite)
    ? { status, headers, scores }
    : { status: 0, headers, error: 'the answer lacks a score' };
}

/** Opens a keep-alive client of `POST /rerank` in the dialect of Text Embeddings Inference, with raw scores. It never throws. */
export function createLoadClient(url: string): LoadClient {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const target = new URL('/rerank', url);
  return {
    rerank: ({ query, passages, model }, extra = {}) =>
      new Promise((resolve) => {
        const body = Buffer.from(JSON.stringify({ query, texts: passages, model, raw_scores: true, truncate: true }));
        const headers = { 'content-type': 'application/json', 'content-length': body.length, ...extra };
        const failed = (error: NodeJS.ErrnoException) =>
          resolve({ status: 0, error: error.code ?? error.message, headers: {} });
        const call = request(target, { method: 'POST', agent, headers }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', failed);
          response.on('end', () =>
            resolve(
              parse(response.statusCode ?? 0, Buffer.concat(chunks).toString(), response.headers, passages.length),
            ),
          );
        });
        call.on('error', failed);
        call.end(body);
      }),
    close: () => agent.destroy(),
  };
}

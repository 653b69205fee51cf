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

interface Scored {
  readonly index: number;
  readonly score: number;
}

function parse(status: number, text: string, headers: Answer['headers'], count: number): Answer {
  if (status !== 200) return { status, headers, error: reasonOf(text) };
  const scores = new Float32Array(count).fill(Number.NaN);
  const answer = JSON.parse(text) as Scored[] | { readonly data: Scored[] };
  for (const { index, score } of Array.isArray(answer) ? answer : answer.data) scores[index] = score;
  return scores.every(Number.isFinite)
    ? { status, headers, scores }
    : { status: 0, headers, error: 'the answer lacks a score' };
}

/** Routes that a client sends to. */
export type Route = 'rerank' | 'score';

/** The body of a request: in the dialect of Text Embeddings Inference for `/rerank`, of vLLM for `/score`. */
const BODIES: Readonly<Record<Route, (request: LoadRequest) => object>> = {
  rerank: ({ query, passages, model, cascade }) => ({
    ...{ query, texts: passages, model, cascade },
    ...{ raw_scores: true, truncate: true },
  }),
  score: ({ query, passages, model }) => ({ text_1: query, text_2: passages, model, use_activation: false }),
};

/** Opens a keep-alive client of `POST /rerank` or `/score`, with raw scores. It never throws. */
export function createLoadClient(url: string, route: Route = 'rerank'): LoadClient {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const target = new URL(`/${route}`, url);
  return {
    rerank: (sent, extra = {}) =>
      new Promise((resolve) => {
        const { passages } = sent;
        const body = Buffer.from(JSON.stringify(BODIES[route](sent)));
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

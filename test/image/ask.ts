const READY_MS = 120_000;

/** Waits until a server is ready. @returns False where it is not within the limit. */
export async function isReady(url: string, limitMs = READY_MS): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (performance.now() < end) {
    const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(limitMs) });
    await response.body?.cancel();
    if (response.ok) return true;
    await new Promise((next) => setTimeout(next, 50));
  }
  return false;
}

export interface Question {
  readonly model?: string;
  readonly query: string;
  readonly texts: readonly string[];
}

export interface Answer {
  readonly status: number;
  readonly arm: string | null;
  /** Logits in the order of the texts. */
  readonly logits: readonly number[];
  readonly text: string;
}

/** Sends a request for logits. */
export async function ask(url: string, question: Question, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${url}/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ ...question, raw_scores: true }),
    signal: AbortSignal.timeout(READY_MS),
  });
  const text = await response.text();
  const rows: { index: number; score: number }[] = response.ok ? JSON.parse(text) : [];
  return {
    status: response.status,
    arm: response.headers.get('x-winnow-arm'),
    logits: rows.toSorted((a, b) => a.index - b.index).map(({ score }) => score),
    text,
  };
}

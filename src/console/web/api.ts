/** An error answer of the server. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** Calls the server; paths are relative to its root, which a proxy may have moved. */
export type Call = <Answer>(path: string, options?: CallOptions) => Promise<Answer>;

/** The server's root: the page is at `ROOT/console/`. */
const ROOT = new URL('..', document.baseURI);

function failure(status: number, text: string): ApiError {
  try {
    const { message, code } = JSON.parse(text) as { message?: string; code?: string };
    return new ApiError(status, code ?? 'unknown', message ?? text);
  } catch {
    return new ApiError(status, 'unknown', text.slice(0, 200) || `status ${status}`);
  }
}

/** Returns calls that send a key; `onRefused` is called when the server refuses the key. */
export function callWith(key: string, onRefused?: (error: ApiError) => void): Call {
  return async function call<Answer>(
    path: string,
    { method = 'GET', body, signal }: CallOptions = {},
  ): Promise<Answer> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (key) headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const payload = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(new URL(path, ROOT), {
      method,
      headers,
      ...payload,
      ...(signal ? { signal } : {}),
    }).catch((error: unknown) => {
      if ((error as Error).name === 'AbortError') throw error;
      throw new ApiError(0, 'unreachable', 'the server does not answer');
    });
    const text = await response.text();
    if (!response.ok) {
      const error = failure(response.status, text);
      if (error.status === 401 || error.status === 403) onRefused?.(error);
      throw error;
    }
    return (text ? JSON.parse(text) : undefined) as Answer;
  };
}

const KEY = 'winnow-console-key';

/** Keeps the key as long as the tab is open; it is not written to disk. */
export const keyStore = {
  read: (): string => sessionStorage.getItem(KEY) ?? '',
  write: (key: string): void => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

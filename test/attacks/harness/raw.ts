import { connect, type Socket } from 'node:net';
import { text as readText } from 'node:stream/consumers';

/** Head of a POST with a JSON body of this many bytes. */
export function head(path: string, length: number, headers: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({
    host: 'localhost',
    'content-type': 'application/json',
    'content-length': String(length),
    ...headers,
  });
  return `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

/** Opens a connection whose errors are of no interest. */
export function open(url: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  return socket;
}

/** Sends bytes and reads the answer until the server closes; the status, 0 where there is none, and the text. */
export async function exchange(
  url: string,
  ...parts: readonly (string | Buffer)[]
): Promise<{ status: number; text: string }> {
  const socket = open(url);
  for (const part of parts) socket.write(part);
  const text = await readText(socket).catch(() => '');
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text };
}

import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';

/** Returns requests by name as a client sent them, from a file of `recorded/`. */
export function recordedRequests(file: string): ReadonlyMap<string, Buffer> {
  const { requests } = z
    .object({ requests: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(import.meta.dirname, 'recorded', file), 'utf8')));
  return new Map(Object.entries(requests).map(([name, bytes]) => [name, Buffer.from(bytes, 'latin1')]));
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Sends bytes as they are and returns the answer. */
export async function sendBytes(server: Server, bytes: Buffer): Promise<RawAnswer> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(bytes);
  let answer = Buffer.alloc(0);
  for await (const chunk of socket) {
    answer = Buffer.concat([answer, chunk as Buffer]);
    const end = answer.indexOf('\r\n\r\n');
    if (end < 0) continue;
    const [line = '', ...lines] = answer.toString('latin1', 0, end).split('\r\n');
    const headers = Object.fromEntries(
      lines.map((one) => [one.slice(0, one.indexOf(':')).toLowerCase(), one.slice(one.indexOf(':') + 1).trim()]),
    );
    const body = answer.subarray(end + 4);
    if (body.length === Number(headers['content-length'])) return { status: Number(line.split(' ')[1]), headers, body };
  }
  throw new Error('the connection ended before the answer');
}

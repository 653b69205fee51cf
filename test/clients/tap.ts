import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A request as it went over the wire: its target as the client wrote it, and the status of the answer. */
export interface TappedRequest {
  readonly method: string;
  readonly path: string;
  status: number | undefined;
}

export interface Tap {
  readonly url: string;
  /** Requests since the last call of this function. */
  take(): readonly TappedRequest[];
  /** The bytes that clients sent since the last call of this function. */
  takeBytes(): Buffer;
  close(): Promise<void>;
}

const REQUEST_LINE = /^(GET|POST|PUT|PATCH|DELETE|OPTIONS|HEAD) (\S+) HTTP\/1\.[01]\r\n/;
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3}) /;

/**
 * Starts a listener that passes every byte between clients and the server unchanged, and notes request and status lines. A line is looked for
 * where a chunk begins, which holds for clients that send one request at a time.
 */
export async function startTap(target: URL): Promise<Tap> {
  let seen: TappedRequest[] = [];
  let bytes: Buffer[] = [];
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    const open: TappedRequest[] = [];
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      // A client that resets its connection has been answered already; the driver reports what it made of it.
      socket.on('error', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      bytes.push(chunk);
      const line = REQUEST_LINE.exec(chunk.toString('latin1'));
      if (!line) return;
      const request: TappedRequest = { method: line[1]!, path: line[2]!, status: undefined };
      open.push(request);
      seen.push(request);
    });
    upstream.on('data', (chunk: Buffer) => {
      const line = STATUS_LINE.exec(chunk.toString('latin1'));
      const request = line && open.shift();
      if (request) request.status = Number(line[1]);
    });
    client.pipe(upstream).pipe(client);
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    take() {
      const taken = seen;
      seen = [];
      return taken;
    },
    takeBytes() {
      const taken = Buffer.concat(bytes);
      bytes = [];
      return taken;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      listener.close();
      await once(listener, 'close');
    },
  };
}

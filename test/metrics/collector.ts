import { once } from 'node:events';
import { createServer } from 'node:http';
import { records } from './tools.ts';

interface SpanSeen {
  readonly name: string;
  readonly traceId: string;
  readonly parentSpanId: string;
  readonly spanId: string;
  /** `service.name` of the resource. */
  readonly service: string;
}

/** A receiver of OTLP over HTTP that keeps what it gets. */
export interface Collector {
  readonly url: string;
  readonly spans: readonly SpanSeen[];
  stop(): Promise<void>;
}

function spansOf(body: string): SpanSeen[] {
  return records(Object(JSON.parse(body)).resourceSpans).flatMap(({ resource, scopeSpans }) => {
    const attribute = records(Object(resource).attributes).find(({ key }) => key === 'service.name');
    const service = String(Object(attribute?.value).stringValue);
    return records(scopeSpans).flatMap(({ spans }) =>
      records(spans).map(({ name, traceId, spanId, parentSpanId = '' }) => ({
        name: String(name),
        traceId: String(traceId),
        spanId: String(spanId),
        parentSpanId: String(parentSpanId),
        service,
      })),
    );
  });
}

/** Listens on a port of this machine. */
export async function startCollector(): Promise<Collector> {
  const spans: SpanSeen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const isTraces = request.url === '/v1/traces';
      if (isTraces) spans.push(...spansOf(Buffer.concat(chunks).toString()));
      response.writeHead(isTraces ? 200 : 404, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

import { cpSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import fc from 'fast-check';
import type { ServerProcess } from '../../bench/load/server.ts';
import { MODELS, SHIPPED_NAME } from '../../bench/load/shipped.ts';
import { startProgress } from '../../src/util/progress.ts';
import { type FuzzRequest, OPERATIONS, requestsTo, shown } from '../http/fuzz-api.ts';

/** Copies a shipped model under the name that fuzzed requests use; returns the registry folder. */
export function fuzzRegistry(folder: string): string {
  const registry = join(folder, 'registry');
  cpSync(join(MODELS, SHIPPED_NAME), join(registry, 'tiny'), { recursive: true });
  return registry;
}

async function send(
  url: string,
  agent: Agent,
  { method, path, body, headers }: FuzzRequest,
): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const { hostname, port } = new URL(url);
  const length = body ? { 'content-length': String(body.length) } : {};
  const client = request(
    { hostname, port, method, path, agent, headers: { ...headers, ...length }, timeout: 60_000 },
    (response) => {
      readText(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
    },
  );
  client.on('timeout', () => client.destroy(new Error('no answer within 60 s')));
  client.on('error', reject);
  client.end(body);
  return await promise;
}

/** Says what is wrong with an answer; undefined where nothing is. */
function faultOf({ status, text }: { status: number; text: string }, sent: FuzzRequest): string | undefined {
  // A probe may say that the server is not ready, a model that the last request unloaded is not, and a client may ask for an answer within 1 ms.
  if (status === 503 || status === 504) return undefined;
  if (status >= 500) return `${status} ${text.slice(0, 300)} for ${shown(sent)}`;
  if (status < 400) return undefined;
  try {
    const { code, message, request_id } = JSON.parse(text) as Record<string, unknown>;
    if ([code, message, request_id].every((field) => typeof field === 'string')) return undefined;
  } catch {
    // Reported below.
  }
  return `an error without code, message or request id: ${status} ${text.slice(0, 300)} for ${shown(sent)}`;
}

/** Sends `runs` requests made from openapi.yaml to all its routes; returns the tries and what went wrong. */
export async function fuzz(
  server: ServerProcess,
  runs: number,
  seed: number,
): Promise<{ readonly tries: number; readonly failures: readonly string[] }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const failures: string[] = [];
  let tries = 0;
  const progress = startProgress('requests', runs);
  const each = Math.ceil(runs / OPERATIONS.length);
  for (const operation of OPERATIONS) {
    const requests = requestsTo(operation);
    for (let done = 0; done < each && failures.length < 20; done += 1000) {
      const batch = fc.sample(requests, { numRuns: Math.min(1000, each - done), seed: seed + done });
      const next = batch.values();
      const work = async () => {
        for (const sent of next) {
          const answer = await send(server.url, agent, sent).catch((error: Error) => ({
            status: 599,
            text: error.message,
          }));
          tries++;
          const fault = faultOf(answer, sent);
          if (fault) failures.push(fault);
        }
      };
      await Promise.all(Array.from({ length: 8 }, work));
      progress.update(tries);
    }
  }
  progress.stop();
  agent.destroy();
  return { tries, failures };
}

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startServerProcess } from '../../bench/load/server.ts';
import { CLIENTS, type Client } from './catalog.ts';
import { type Call, drive, type Question } from './drive.ts';
import { install } from './setup.ts';
import { startTap, type Tap } from './tap.ts';

const ROOT = join(import.meta.dirname, '../..');
const RESULTS = join(import.meta.dirname, 'results.json');

const HELP = `Runs clients of other makers, unmodified, against a server with default settings.

  npm run test:clients                        every client, about 2 minutes, the first time with downloads
  npm run test:clients -- --only cohere,go    clients whose name or language fits
  npm run test:clients -- --only infinity_client --record FILE
                                              writes the bytes of its requests to FILE, for tests that replay them
  npm run test:clients -- --write             also renews test/clients/results.json, which docs/compatibility.md shows

Python clients come from PyPI, Java clients from Maven Central, Go clients from the module proxy, into tmp/clients, each into a folder of its
own. Needed on the machine: python3 with venv, java 17 and mvn, go. A client that cannot be installed is listed with the reason.
`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    write: { type: 'boolean', default: false },
    record: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const FLEAS = {
  query: 'how long does a flea live',
  documents: [
    'The committee will meet on Thursday to discuss the new tariff on copper imports.',
    'A flea can live up to a year, but its general lifespan depends on its living conditions.',
    'Dogs and cats often scratch when they are bitten by small insects.',
    'The life cycle of a flea lasts from 20 days to an entire year.',
    'Bridges are inspected every five years.',
  ],
};

/** Asks the server in the plainest way, so that clients are compared with numbers that none of them read. */
async function questionFor(url: string): Promise<Question> {
  const response = await fetch(`${url}/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: FLEAS.query, texts: FLEAS.documents, raw_scores: true }),
  });
  const ranked = (await response.json()) as { readonly index: number; readonly score: number }[];
  const info = (await (await fetch(`${url}/info`)).json()) as { readonly model_id: string };
  return {
    ...FLEAS,
    model: info.model_id,
    logits: FLEAS.documents.map((_, i) => ranked.find(({ index }) => index === i)!.score),
  };
}

function print({ client, version, call, requests, seen, fault }: Call): void {
  const mark = fault === undefined ? 'ok    ' : 'FAILED';
  process.stdout.write(`${mark} ${version || client}  ${call}\n         ${requests}  →  ${fault ?? seen}\n`);
}

function writeJson(file: string, content: object): void {
  writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`);
}

interface Missing {
  readonly client: string;
  readonly packages: string;
  readonly reason: string;
}

async function runAll(clients: readonly Client[], tap: Tap, question: Question) {
  const calls: Call[] = [];
  const missing: Missing[] = [];
  const recorded = new Map<string, string>();
  for (const client of clients) {
    try {
      const command = await install(client, join(ROOT, 'tmp/clients'));
      const made = await drive(client, command, tap, question, (call, bytes) => {
        recorded.set(call, bytes.toString('latin1'));
      });
      made.forEach(print);
      calls.push(...made);
    } catch (error) {
      const reason = (error as Error).message;
      missing.push({ client: client.name, packages: client.packages.join(' '), reason });
      process.stdout.write(`ABSENT ${client.name} (${client.packages.join(' ')}) was not installed: ${reason}\n`);
    }
  }
  if (values.record !== undefined) {
    const client = [...new Set(calls.map(({ version }) => version))].join(', ');
    writeJson(values.record, { client, encoding: 'latin1', requests: Object.fromEntries(recorded) });
  }
  return { calls, missing };
}

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const wanted = values.only?.toLowerCase().split(',');
  const fits = ({ name, language }: Client) =>
    wanted?.some((part) => name.toLowerCase().includes(part) || language === part) ?? true;
  const clients = CLIENTS.filter(fits);
  const server = await startServerProcess();
  const tap = await startTap(new URL(server.url));
  try {
    const { calls, missing } = await runAll(clients, tap, await questionFor(server.url));
    const packages = new Set(calls.map(({ client, version }) => version || client));
    const failed = calls.filter(({ fault }) => fault !== undefined).length;
    if (values.write && !wanted) writeJson(RESULTS, { calls, missing });
    const absent = missing.length > 0 ? `, ${missing.length} more could not be installed` : '';
    process.stdout.write(`${calls.length} calls of ${packages.size} clients, ${failed} failed${absent}\n`);
    return failed > 0 || calls.length === 0 ? 1 : 0;
  } finally {
    await tap.close();
    await server.stop();
  }
}

process.exitCode = await main();

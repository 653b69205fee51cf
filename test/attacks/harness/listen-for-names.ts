import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/*
 * Runs one command in a network of its own, whose only name server is this process, and prints what names were looked up as a line of JSON:
 * `node listen-for-names.ts SECONDS PROGRAM ARGUMENTS…`. After SECONDS the command gets SIGTERM. `harness/silence.ts` makes the namespaces.
 */

/** Returns the name a DNS query asks for. */
function nameIn(query: Buffer): string {
  const labels: string[] = [];
  for (let at = 12; query[at] !== undefined && query[at] !== 0; at += query[at]! + 1)
    labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
  return labels.join('.');
}

/** Returns the answer that there is no such name. */
function noSuchName(query: Buffer): Buffer {
  const answer = Buffer.from(query);
  answer.writeUInt16BE(0x8183, 2);
  return answer;
}

const [seconds, program, ...args] = process.argv.slice(2);
const names = new Set<string>();
const sink = createSocket('udp4');
sink.on('error', (error) => {
  process.stderr.write(`the name server failed: ${error.message}\n`);
  process.exit(3);
});
sink.on('message', (query, { port, address }) => {
  names.add(nameIn(query));
  sink.send(noSuchName(query), port, address);
});
sink.bind(53, '127.0.0.1');
await once(sink, 'listening');

const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
const output: string[] = [];
child.stdout.on('data', (chunk: Buffer) => output.push(chunk.toString()));
const timer = setTimeout(() => child.kill('SIGTERM'), Number(seconds) * 1000);
const [code, signal] = await once(child, 'exit');
clearTimeout(timer);
sink.close();
console.log(JSON.stringify({ names: [...names], code, signal, output: output.join('') }));

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ask, isReady } from './ask.ts';
import type { Built } from './build.ts';
import { type Container, type Mount, startContainer } from './container.ts';
import type { Result } from './result.ts';
import { run } from './tools.ts';

const QUESTION = {
  query: 'how long does a flea live',
  texts: [
    'The committee will meet on Thursday to discuss the new tariff on copper imports.',
    'A flea can live up to a year, but its general lifespan depends on its living conditions.',
    'Bridges are inspected every five years.',
  ],
};

/** Prints where the folder of Node's compiled code leads. */
const COMPILED =
  "const fs = require('fs'); console.log(fs.globSync('{/app/cache/compiled,/tmp/node-compile-cache}/v*').map((file) => fs.readlinkSync(file)).join())";

async function bestOf(url: string): Promise<string> {
  const { status, logits } = await ask(url, QUESTION);
  return `${status}, best is document ${logits.indexOf(Math.max(...logits))}`;
}

async function life(container: Container, who: string): Promise<Result[]> {
  const ready = await isReady(container.url);
  const best = ready ? await bestOf(container.url) : 'not asked';
  const { port } = new URL(container.url);
  const health = container.exec('node', '/app/bin/winnow.mjs', 'health', '--port', port).code;
  const writes = container.exec('node', '-e', "require('fs').writeFileSync('/app/runs/probe', '1')").code;
  const compiled = container.exec('node', '-e', COMPILED).output.trim();
  const code = await container.stop();
  return [
    {
      claim: `${who}, read-only root: ready`,
      seen: ready ? 'ready' : container.log.slice(-3).join('\n'),
      passed: ready,
    },
    { claim: `${who}: ranks`, seen: best, passed: best === '200, best is document 1' },
    { claim: `${who}: winnow health`, seen: `exit code ${health}`, passed: health === 0 },
    { claim: `${who}: writes to runs/ where a volume is`, seen: `exit code ${writes}`, passed: writes === 0 },
    {
      claim: `${who}: starts from the compiled code of the image`,
      seen: compiled,
      passed: compiled === '/app/compile-cache',
    },
    { claim: `${who}: ends on SIGTERM`, seen: `exit code ${code}`, passed: code === 0 },
  ];
}

/** Calls `work` with the mounts of models and of a volume, as a cluster gives it: writable for group 0. */
async function withVolume<T>(root: string, work: (mounts: readonly Mount[]) => Promise<T>): Promise<T> {
  const runs = mkdtempSync(join(tmpdir(), 'winnow-runs-'));
  run('chmod', ['0775', runs]);
  try {
    return await work([
      { source: join(root, 'models'), target: '/app/models', isWritable: false },
      { source: runs, target: '/app/runs', isWritable: true },
    ]);
  } finally {
    rmSync(runs, { recursive: true, force: true });
  }
}

async function withServer<T>(
  { image }: Built,
  user: string,
  mounts: readonly Mount[],
  work: (container: Container) => Promise<T>,
  ...args: string[]
): Promise<T> {
  const container = await startContainer({ image, user, args: ['serve', '--port', '0', ...args], mounts });
  try {
    return await work(container);
  } finally {
    container.remove();
  }
}

const REQUESTS = 6;
const FILE = '/etc/winnow/experiments.yaml';
const DATABASE = '/app/runs/experiments.sqlite';

/** Two servers in turn on one volume: the second one's report has the requests of the first. */
async function keepsExperiments(built: Built, root: string): Promise<Result> {
  const definition = mkdtempSync(join(tmpdir(), 'winnow-experiments-'));
  cpSync(join(root, 'recipes/experiment/experiments.yaml'), join(definition, 'experiments.yaml'));
  run('chmod', ['-R', 'a+rX', definition]);
  try {
    return await withVolume(root, async (volumes) => {
      const mounts = [...volumes, { source: definition, target: '/etc/winnow', isWritable: false }];
      const args = ['--experiments', FILE, '--experiments-database', DATABASE];
      const arms = new Set<string | null>();
      await withServer(
        built,
        '1000:0',
        mounts,
        async ({ url, stop }) => {
          await isReady(url);
          for (let user = 0; user < REQUESTS; user++)
            arms.add((await ask(url, QUESTION, { 'x-user-id': `user-${user}` })).arm);
          await stop();
        },
        ...args,
      );
      const report = await withServer(
        built,
        '1000:0',
        mounts,
        async ({ url, exec, stop }) => {
          await isReady(url);
          const text = exec(
            ...['node', '/app/bin/winnow.mjs', 'experiments', 'report', 'new-objective'],
            '--database',
            DATABASE,
          );
          await stop();
          return text.output;
        },
        ...args,
      );
      const counts = [...report.matchAll(/minilm-l6-\w+ +(\d+) +(\d+)/g)].map(([, , requests]) => Number(requests));
      const kept = counts.reduce((sum, count) => sum + count, 0);
      return {
        claim: 'read-only root, volume for runs/: experiments outlive the container',
        seen: `${kept} of ${REQUESTS} requests in the report of the next server, arms ${[...arms].join(', ')}`,
        passed: kept === REQUESTS && !arms.has(null),
      };
    });
  } finally {
    rmSync(definition, { recursive: true, force: true });
  }
}

/** Checks the life of an image under two users, and what its volume keeps. */
export async function lives(built: Built, root: string): Promise<Result[]> {
  const results: Result[] = [];
  for (const [user, who] of [
    ['1000:0', 'user of the image'],
    ['1000650000:0', 'a user that a cluster chose'],
  ] as const)
    results.push(
      ...(await withVolume(root, (mounts) => withServer(built, user, mounts, (container) => life(container, who)))),
    );
  return [...results, await keepsExperiments(built, root)];
}

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Built } from './build.ts';
import { type Container, configOf, startContainer } from './container.ts';
import { buildah, megabytes, run } from './tools.ts';

/** One statement of the documentation, and what was seen. */
export interface Result {
  readonly claim: string;
  readonly seen: string;
  readonly passed: boolean;
}

/** Largest compressed size of an image without models, in bytes. */
const MOST_BYTES = 160e6;

const REQUEST = {
  query: 'how long does a flea live',
  documents: [
    'The committee will meet on Thursday to discuss the new tariff on copper imports.',
    'A flea can live up to a year, but its general lifespan depends on its living conditions.',
    'Bridges are inspected every five years.',
  ],
};

/** Mounts an image's files and calls `work` with their folder. */
function withFiles<T>(image: string, work: (folder: string) => T): T {
  const container = buildah('from', image).trim();
  try {
    return work(buildah('mount', container).trim());
  } finally {
    buildah('umount', container);
    buildah('rm', container);
  }
}

function contents({ image, layers }: Built): Result[] {
  const size = layers.reduce((sum, bytes) => sum + bytes, 0);
  const { Labels, User } = configOf(image);
  const files = withFiles(image, (folder) => readdirSync(join(folder, 'app'), { recursive: true, encoding: 'utf8' }));
  const unwanted = files.filter((file) => /\.map$|\/sharp\/|onnxruntime-web|\/(darwin|win32)\//.test(file));
  const licenses = files.filter((file) => /\/licen[cs]e[^/]*$/i.test(file)).length;
  return [
    { claim: 'less than 160 MB compressed, without models', seen: megabytes(size), passed: size < MOST_BYTES },
    { claim: 'runs as user 1000 of group 0', seen: User, passed: User === '1000:0' },
    {
      claim: 'labels name version, license and revision',
      seen: JSON.stringify(Labels),
      passed: ['version', 'licenses', 'revision'].every((name) => Labels[`org.opencontainers.image.${name}`]),
    },
    {
      claim: 'no maps, no image library, no other engines',
      seen: unwanted.join(', ') || 'none',
      passed: unwanted.length === 0,
    },
    {
      claim: 'license texts and a list of the modules',
      seen: `${licenses} texts`,
      passed: licenses > 100 && files.includes('sbom.cdx.json'),
    },
  ];
}

async function isReady(url: string): Promise<boolean> {
  const end = performance.now() + 120_000;
  while (performance.now() < end) {
    const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(10_000) });
    if (response.ok) return true;
    await new Promise((next) => setTimeout(next, 200));
  }
  return false;
}

async function bestOf(url: string): Promise<string> {
  const response = await fetch(`${url}/v2/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(REQUEST),
    signal: AbortSignal.timeout(30_000),
  });
  return `${response.status}, best is document ${Object(await response.json()).results?.[0]?.index}`;
}

async function life(container: Container, who: string): Promise<Result[]> {
  const ready = await isReady(container.url);
  const best = ready ? await bestOf(container.url) : 'not asked';
  const health = container.exec('node', '/app/bin/winnow.mjs', 'health', '--port', new URL(container.url).port);
  const writes = container.exec('node', '-e', "require('fs').writeFileSync('/app/runs/probe', '1')");
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
    { claim: `${who}: ends on SIGTERM`, seen: `exit code ${code}`, passed: code === 0 },
  ];
}

/** Checks an image: what it holds, and its life under two users. */
export async function check(built: Built, root: string): Promise<Result[]> {
  const results = contents(built);
  for (const [user, who] of [
    ['1000:0', 'user of the image'],
    ['1000650000:0', 'a user that a cluster chose'],
  ] as const) {
    const runs = mkdtempSync(join(tmpdir(), 'winnow-runs-'));
    // A volume of a cluster belongs to group 0 of the pod.
    run('chmod', ['0775', runs]);
    const container = await startContainer({
      image: built.image,
      user,
      args: ['serve', '--port', '0'],
      mounts: [
        { source: join(root, 'models'), target: '/app/models', isWritable: false },
        { source: runs, target: '/app/runs', isWritable: true },
      ],
    });
    try {
      results.push(...(await life(container, who)));
    } finally {
      container.remove();
      rmSync(runs, { recursive: true, force: true });
    }
  }
  return results;
}

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ARCHITECTURES, type Architecture, OWN } from './base.ts';
import { type Built, build, removeLeftovers } from './build.ts';
import { contents } from './contents.ts';
import { emulatingArm64 } from './emulation.ts';
import { lives } from './life.ts';
import { podOfManifests } from './pod.ts';
import type { Result } from './result.ts';
import { sameScores } from './scores.ts';
import { compareStarts } from './starts.ts';
import { megabytes, missingPrograms } from './tools.ts';

const ROOT = join(import.meta.dirname, '../..');

const HELP = `Builds the image with buildah, runs it with runc, and checks what the documentation says of it.

  npm run test:image                          cpu-bare for this processor: build, contents, runs; about 3 minutes on 2 idle cores
  npm run test:image -- --arch arm64          for another processor: build, contents; runs it emulated, and compares scores
  npm run test:image -- --twice               builds anew, twice, in one layer, and compares the digests
  npm run test:image -- --starts 5            also compares starts with and without compiled code
  npm run test:image -- --base IMAGE          on an image that is here, in place of a stand-in for node:24-slim
  npm run test:image -- --json FILE           also writes the results

Needed: root, and Debian's packages buildah, runc, mmdebstrap; for another processor qemu-user-static. Base images and layers stay in ~/.cache/winnow-image.
`;

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'cpu-bare' },
    arch: { type: 'string', default: OWN },
    base: { type: 'string' },
    twice: { type: 'boolean', default: false },
    starts: { type: 'string', default: '0' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

function architecture(): Architecture {
  const found = ARCHITECTURES.find((name) => name === values.arch);
  if (found === undefined) throw new Error(`expected --arch to be ${ARCHITECTURES.join(' or ')}, got ${values.arch}`);
  return found;
}

function describeBuilt({ image, seconds, digest, layers }: Built): string {
  const all = layers.reduce((sum, { bytes }) => sum + bytes, 0);
  const lines = layers.map(({ by, bytes }) => `  ${megabytes(bytes).padStart(9)}  ${by}`);
  return `${image}  ${digest.slice(0, 19)}  built in ${seconds.toFixed(0)} s\n${lines.join('\n')}\n  ${megabytes(all).padStart(9)}  compressed, all layers\n`;
}

function print({ claim, seen, passed }: Result): void {
  process.stdout.write(`${passed ? 'ok    ' : 'FAILED'} ${claim}: ${seen}\n`);
}

/** What an image of this machine's processor shows; the other one is compared with it. */
async function runs(image: Built): Promise<Result[]> {
  if (image.architecture === OWN) return [...(await lives(image, ROOT)), ...(await podOfManifests(image, ROOT))];
  const own = build({ root: ROOT, target: values.target, architecture: OWN, fromCache: true });
  return emulatingArm64(() => sameScores(image, own, ROOT));
}

async function main(): Promise<void> {
  const missing = missingPrograms();
  if (missing.length > 0 || process.getuid?.() !== 0)
    throw new Error(
      `expected root and ${missing.join(', ') || 'buildah'}, got neither; apt-get install buildah runc mmdebstrap`,
    );
  const options = { root: ROOT, target: values.target, architecture: architecture(), base: values.base };
  const image = build({ ...options, fromCache: !values.twice });
  process.stdout.write(describeBuilt(image));
  const results = contents(image, image.architecture === OWN);
  results.forEach(print);
  const seen = await runs(image);
  seen.forEach(print);
  results.push(...seen);
  if (values.twice) {
    const { digest } = build({ ...options, fromCache: false });
    const same = { claim: 'the same sources give the same image', seen: digest, passed: digest === image.digest };
    print(same);
    results.push(same);
  }
  const starts = Number(values.starts);
  if (starts > 0) process.stdout.write(`${await compareStarts(image, ROOT, starts)}\n`);
  removeLeftovers();
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ image, results }, undefined, 2)}\n`);
  const failed = results.filter(({ passed }) => !passed).length;
  process.stdout.write(`${results.length - failed} passed, ${failed} failed\n`);
  if (failed > 0) process.exitCode = 1;
}

if (values.help) process.stdout.write(HELP);
else await main();

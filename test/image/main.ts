import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Built, build } from './build.ts';
import { check, type Result } from './checks.ts';
import { megabytes, missingPrograms } from './tools.ts';

const ROOT = join(import.meta.dirname, '../..');

const HELP = `Builds the image with buildah, runs it with runc, and checks what the documentation says of it.

  npm run test:image                          cpu-bare for this processor: build, contents, runs; about 3 minutes on 2 idle cores
  npm run test:image -- --twice               also builds anew and compares the digests
  npm run test:image -- --base IMAGE          on an image that is here, in place of a stand-in for node:24-slim
  npm run test:image -- --json FILE           also writes the results

Needed: root, and Debian's packages buildah, runc, mmdebstrap. Base images and layers stay in ~/.cache/winnow-image.
`;

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'cpu-bare' },
    base: { type: 'string' },
    twice: { type: 'boolean', default: false },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

function describeBuilt({ image, seconds, digest, layers }: Built): string {
  const all = layers.reduce((sum, size) => sum + size, 0);
  const own = layers.slice(1).map(megabytes).join(' + ');
  return `${image}  ${digest.slice(0, 19)}  built in ${seconds.toFixed(0)} s\n  compressed ${megabytes(all)}: base ${megabytes(layers[0] ?? 0)} + ${own}\n`;
}

function print({ claim, seen, passed }: Result): void {
  process.stdout.write(`${passed ? 'ok    ' : 'FAILED'} ${claim}: ${seen}\n`);
}

async function main(): Promise<void> {
  const missing = missingPrograms();
  if (missing.length > 0 || process.getuid?.() !== 0)
    throw new Error(
      `expected root and ${missing.join(', ') || 'buildah'}, got neither; apt-get install buildah runc mmdebstrap`,
    );
  const options = { root: ROOT, target: values.target, base: values.base };
  const image = build({ ...options, fromCache: !values.twice });
  process.stdout.write(describeBuilt(image));
  const results = await check(image, ROOT);
  if (values.twice) {
    const { digest } = build({ ...options, fromCache: false });
    results.push({ claim: 'the same sources give the same image', seen: digest, passed: digest === image.digest });
  }
  for (const result of results) print(result);
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ image, results }, undefined, 2)}\n`);
  const failed = results.filter(({ passed }) => !passed).length;
  process.stdout.write(`${results.length - failed} passed, ${failed} failed\n`);
  if (failed > 0) process.exitCode = 1;
}

if (values.help) process.stdout.write(HELP);
else await main();

import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type GraphFolder, graphFolder, sumGraph } from './graphs.ts';

/* The compiled program starts its hosts from `.js` files, as it does in the image. */

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);

let folder: GraphFolder;
let built: string;
beforeAll(async () => {
  folder = await graphFolder();
  built = await mkdtemp(join(tmpdir(), 'winnow-built-'));
});
afterAll(async () => {
  await folder.remove();
  await rm(built, { recursive: true, force: true });
});

const SCRIPT = `
import { createHostPool } from './dist/inference/host-pool.js';
const pool = await createHostPool({ provider: 'cpu', hosts: 1, threads: 1 });
await pool.load(JSON.parse(process.argv[2]));
const { scores } = await pool.run('sum', [{ ids: Int32Array.of(1, 2), secondSegment: 1 }]);
await pool.close();
console.log(JSON.stringify([...scores]));
`;

it('scores from compiled files', async () => {
  await symlink(join(ROOT, 'node_modules'), join(built, 'node_modules'));
  await writeFile(join(built, 'package.json'), '{"type":"module"}');
  await writeFile(join(built, 'score.js'), SCRIPT);
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  const options = ['-p', join(ROOT, 'tsconfig.build.json'), '--noCheck', '--outDir', join(built, 'dist')];
  await run(process.execPath, [compiler, ...options]);
  const spec = JSON.stringify(await folder.write('sum', sumGraph()));
  const { stdout } = await run(process.execPath, ['score.js', spec], { cwd: built });
  expect(JSON.parse(stdout)).toEqual([12_003]);
});

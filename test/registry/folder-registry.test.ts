import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { createRegistry } from '../../src/registry/folder-registry.ts';
import { modelRegistryContract } from '../contracts/model-registry.ts';
import { dropVersion, scratch, tokenizers } from './support.ts';

async function openContractRegistry() {
  const folder = await scratch();
  await dropVersion(folder, 'alpha', '1', { bias: 1 });
  await dropVersion(folder, 'alpha', '2', { bias: 2 });
  await writeFile(join(folder, 'alpha', 'labels.json'), '{"stable":"1","canary":"2"}');
  await dropVersion(folder, 'beta', '9', { bias: 9 });
  await dropVersion(folder, 'beta', '10', { bias: 10 });
  await dropVersion(folder, 'broken', '1', { constant: true });
  const pool = await createLocalPool({ threads: 1 });
  const registry = await createRegistry({ folder, pool, tokenizers });
  onTestFinished(async () => {
    await registry.close();
    await pool.close();
  });
  return registry;
}

modelRegistryContract('the folder registry', openContractRegistry);
it('placeholder', () => expect(1).toBe(1));

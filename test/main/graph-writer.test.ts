import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeGraphInChild } from '../../src/main/graph-writer.ts';

const HUB = join(import.meta.dirname, '../../../shared/hub');
const folder = mkdtempSync(join(tmpdir(), 'winnow-graph-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const job = (name: string) => ({
  folder: join(HUB, name),
  file: join(folder, `${name}.onnx`),
  names: [],
  onGpu: false,
});

describe.skipIf(!existsSync(HUB))('writing the graph of weights in a child process (needs ../shared/hub)', () => {
  it('writes the file and passes the warnings on', async () => {
    const written = job('bert-cross-encoder');
    expect(await writeGraphInChild(written)).toEqual([]);
    expect(existsSync(written.file)).toBe(true);
  });

  it('passes a refusal on as it was, with its parameters', async () => {
    const refused = job('bert-backbone');
    await expect(writeGraphInChild(refused)).rejects.toMatchObject({
      code: 'invalid_input',
      params: { where: refused.folder, got: 'an encoder without it' },
    });
    expect(existsSync(refused.file)).toBe(false);
  });

  it('says so where the process cannot read the folder', async () => {
    await expect(writeGraphInChild(job('none'))).rejects.toThrow(/none/);
  });
});

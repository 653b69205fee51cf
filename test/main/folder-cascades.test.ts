import { symlinkSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { readFolderCascades, surveyCascades, withFolderCascades } from '../../src/main/folder-cascades.ts';
import { SHIPPED_MODELS } from '../support/shipped.ts';

async function folderWith(content?: unknown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cascades-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  if (content !== undefined)
    await writeFile(join(folder, 'cascades.json'), typeof content === 'string' ? content : JSON.stringify(content));
  return folder;
}

const ACCURATE = [
  { model: 'small', keep: 50 },
  { model: 'large@2', blend: 0.5 },
];

describe('cascades of a registry folder', () => {
  it('join those of the settings', async () => {
    const folder = await folderWith({ accurate: ACCURATE });
    const flags = ['--models', folder, '--registry-cascades', JSON.stringify({ fast: ACCURATE })];
    const config = loadConfig(flags, {});
    const { registry, ...rest } = await withFolderCascades(config, { warn: vi.fn() });
    expect(registry.cascades).toEqual({ fast: ACCURATE, accurate: ACCURATE });
    expect({ ...rest, registry: { ...registry, cascades: config.registry.cascades } }).toEqual(config);
  });

  it('change nothing where there is no file', async () => {
    const config = loadConfig(['--models', await folderWith()], {});
    expect(await withFolderCascades(config, { warn: vi.fn() })).toBe(config);
    expect(await readFolderCascades(join(tmpdir(), 'no', 'folder'))).toEqual({});
  });

  it('leave names to the settings, and say so', async () => {
    const folder = await folderWith({ accurate: ACCURATE, 'org/m': ACCURATE, third: ACCURATE });
    const own = [{ model: 'a', keep: 1 }, { model: 'b' }];
    const flags = ['--registry-cascades', JSON.stringify({ accurate: own }), '--registry-aliases', 'org/m=small'];
    const warn = vi.fn();
    const { registry } = await withFolderCascades(loadConfig(['--models', folder, ...flags], {}), { warn });
    expect(registry.cascades).toEqual({ accurate: own, third: ACCURATE });
    expect(warn.mock.calls.map(([facts, text]) => `${facts.name}: ${text}`)).toEqual([
      'accurate: has no effect: registry.cascades gives the name a meaning',
      'org/m: has no effect: registry.aliases gives the name a meaning',
    ]);
  });

  it.each([
    ['', 'cascades.json: '],
    ['[]', 'cascades.json: '],
    [{ a: [{ model: 'x' }] }, 'expected 2 to 8 stages'],
    [{ a: [{ model: 'x' }, { model: 'y' }] }, 'expected how many passages go on'],
    [{ a: [{ model: 'x', keep: 0 }, { model: 'y' }] }, 'expected a whole number of at least 1'],
    [
      {
        a: [
          { model: 'x', keep: 5 },
          { model: 'y', top: 3 },
        ],
      },
      'expected only the documented fields',
    ],
    [{ '*': ACCURATE }, 'names, without *'],
  ])('refuse %j', async (content, text) => {
    await expect(readFolderCascades(await folderWith(content))).rejects.toThrow(text);
  });

  it('are surveyed: a file that cannot be read and stages without their model are problems', async () => {
    const models = new Set(['small']);
    expect(await surveyCascades(await folderWith(), models)).toEqual({ cascades: {}, problems: [] });
    const { cascades, problems } = await surveyCascades(await folderWith({ accurate: ACCURATE }), models);
    expect(cascades).toEqual({ accurate: ACCURATE });
    expect(problems).toEqual([
      { where: 'cascades.json: accurate.1.model', reason: 'expected a model of the registry, got large@2' },
    ]);
    const broken = await surveyCascades(await folderWith('{'), models);
    expect(broken).toMatchObject({ cascades: {}, problems: [{ where: 'cascades.json' }] });
  });

  it('are not read through a link', async () => {
    const [folder, other] = [await folderWith(), await folderWith({ accurate: ACCURATE })];
    symlinkSync(join(other, 'cascades.json'), join(folder, 'cascades.json'));
    await expect(readFolderCascades(folder)).rejects.toThrow('a symbolic link');
  });

  it('that ship have stages that ship', async () => {
    const shipped = await readFolderCascades(join(import.meta.dirname, '..', '..', 'models'));
    expect(Object.keys(shipped)).toEqual(['accurate']);
    for (const stages of Object.values(shipped))
      for (const { model } of stages) expect(SHIPPED_MODELS).toContain(model);
  });
});

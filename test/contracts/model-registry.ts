import { describe, expect, it } from 'vitest';
import type { ModelRegistry } from '../../src/registry/registry-types.ts';

/**
 * What every registry must do. `open` gives one that holds `alpha` with the good versions 1 and 2 (stable → 1, canary → 2), `beta` with
 * the good versions 9 and 10 and no label, and `broken` with one version that admission refuses; `alpha` is the default.
 */
export function modelRegistryContract(name: string, open: () => Promise<ModelRegistry>): void {
  describe(`${name} as a model registry`, () => {
    const versionOf = async (registry: ModelRegistry, reference?: string) => {
      const lease = await registry.acquire(reference);
      lease.release();
      return lease.version.key;
    };
    const state = (registry: ModelRegistry, key: string) =>
      registry.list().find((s) => `${s.name}@${s.version}` === key)?.state;

    it('resolves names, versions, labels and nothing', async () => {
      const registry = await open();
      expect(registry.defaultModel).toBe('alpha');
      expect(await versionOf(registry)).toBe('alpha@1');
      expect(await versionOf(registry, 'alpha')).toBe('alpha@1');
      expect(await versionOf(registry, 'alpha:stable')).toBe('alpha@1');
      expect(await versionOf(registry, 'alpha:canary')).toBe('alpha@2');
      expect(await versionOf(registry, 'alpha@2')).toBe('alpha@2');
      expect(await versionOf(registry, 'beta')).toBe('beta@10');
      expect(await versionOf(registry, 'beta@9')).toBe('beta@9');
    });

    it.each([
      ['gamma', 'unknown_model'],
      ['', 'unknown_model'],
      ['../alpha', 'unknown_model'],
      ['alpha@3', 'unknown_version'],
      ['alpha:blue', 'unknown_version'],
      ['beta:stable', 'unknown_version'],
      ['broken', 'model_refused'],
    ])('answers %j with %s', async (reference, code) => {
      await expect((await open()).acquire(reference)).rejects.toMatchObject({ code });
    });

    it('loads at the first use, and says what it holds', async () => {
      const registry = await open();
      expect(state(registry, 'alpha@1')).toBe('available');
      const { version, release } = await registry.acquire('alpha');
      expect(version).toMatchObject({ name: 'alpha', version: '1', reduction: { kind: 'single' } });
      expect(version.sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(state(registry, 'alpha@1')).toBe('ready');
      expect(state(registry, 'alpha@2')).toBe('available');
      expect(registry.list().find((s) => s.name === 'alpha' && s.version === '1')?.labels).toEqual(['stable']);
      release();
    });

    it('loads once however many ask at once', async () => {
      const registry = await open();
      const leases = await Promise.all(Array.from({ length: 20 }, () => registry.acquire('beta')));
      expect(new Set(leases.map((l) => l.version)).size).toBe(1);
      for (const lease of leases) lease.release();
    });

    it('relabels; a lease stays on the version it began on', async () => {
      const registry = await open();
      const before = await registry.acquire('alpha');
      await registry.setLabel('alpha', 'stable', '2');
      expect(await versionOf(registry, 'alpha')).toBe('alpha@2');
      expect(before.version.version).toBe('1');
      before.release();
      await registry.setLabel('alpha', 'blue', '1');
      expect(await versionOf(registry, 'alpha:blue')).toBe('alpha@1');
    });

    it('refuses labels that are no names, and versions that are not there or refused', async () => {
      const registry = await open();
      await expect(registry.setLabel('alpha', '../x', '1')).rejects.toMatchObject({ code: 'invalid_field' });
      await expect(registry.setLabel('alpha', 'stable', '7')).rejects.toMatchObject({ code: 'unknown_version' });
      await expect(registry.setLabel('gamma', 'stable', '1')).rejects.toMatchObject({ code: 'unknown_model' });
      await expect(registry.setLabel('broken', 'stable', '1')).rejects.toMatchObject({ code: 'model_refused' });
      expect(await versionOf(registry, 'alpha')).toBe('alpha@1');
    });

    it('drains before it unloads, and stays unloaded until it is told to load', async () => {
      const registry = await open();
      const lease = await registry.acquire('alpha');
      let gone = false;
      const unloading = registry.unload('alpha').then(() => {
        gone = true;
      });
      await expect(registry.acquire('alpha')).rejects.toMatchObject({ code: 'model_not_ready' });
      expect(state(registry, 'alpha@1')).toBe('draining');
      expect(gone).toBe(false);
      lease.release();
      lease.release();
      await unloading;
      expect(state(registry, 'alpha@1')).toBe('unloaded');
      await expect(registry.acquire('alpha@1')).rejects.toMatchObject({ code: 'model_not_ready' });
      const statuses = await registry.load('alpha');
      expect(statuses.find((s) => s.version === '1')?.state).toBe('ready');
      expect(await versionOf(registry, 'alpha')).toBe('alpha@1');
    });

    it('says why a version is refused, by acquire, load and list', async () => {
      const registry = await open();
      const error = await registry.load('broken').catch((e: unknown) => e);
      expect(error).toMatchObject({ code: 'model_refused', params: { model: 'broken', version: '1' } });
      const status = registry.list().find((s) => s.name === 'broken');
      expect(status?.state).toBe('refused');
      expect(status?.reason?.length).toBeGreaterThan(10);
    });

    it('takes no more work once closed', async () => {
      const registry = await open();
      await registry.close();
      await expect(registry.acquire('alpha')).rejects.toMatchObject({ code: 'shutting_down' });
    });
  });
}

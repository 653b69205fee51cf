import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { planHosts } from '../../src/main/plan-hosts.ts';
import { mostWeightBytes } from '../../src/main/weight-bytes.ts';
import { MODELS } from '../support/shipped.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-plan-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MIB = 2 ** 20;

/** A registry that has a file of weights of so many bytes; its content is never read. */
function registry(bytes: number): string {
  const root = mkdtempSync(join(folder, 'models-'));
  const version = join(root, 'm', '1', 'onnx');
  mkdirSync(version, { recursive: true });
  const file = join(version, 'model.onnx');
  writeFileSync(file, '');
  truncateSync(file, bytes);
  return root;
}

async function planned(machine: { cores: number; memoryBytes: number }, ...flags: string[]) {
  const said: { level: string; message: string; facts: Record<string, unknown> }[] = [];
  const say = (level: string) => (facts: unknown, message?: string) =>
    void said.push({ level, message: message ?? '', facts: Object(facts) });
  const config = loadConfig(['--models', MODELS, '--provider', 'cpu', ...flags], {});
  const logger = { info: say('info'), warn: say('warn') } as unknown as Parameters<typeof planHosts>[1];
  return { plan: await planHosts(config, logger, machine), said };
}

it('leaves hosts to the cores where memory is ample, and says what it chose', async () => {
  const { plan, said } = await planned({ cores: 4, memoryBytes: 8192 * MIB });
  expect(plan).toMatchObject({ hosts: 0, threads: 0, replacesInPlace: false });
  expect(said).toHaveLength(1);
  expect(said[0]).toMatchObject({ message: 'hosts planned', facts: { cores: 4, hosts: 4, hostsBy: 'cores' } });
  expect(plan.modelBytes).toBeGreaterThan(4096 * MIB);
});

it('starts fewer hosts where the weights of all do not fit, with the limits of the memory', async () => {
  const { plan, said } = await planned({ cores: 16, memoryBytes: 1024 * MIB });
  expect(plan).toMatchObject({ hosts: 2, threads: 0 });
  expect(plan.maxRssBytes).toBeLessThan(400 * MIB);
  expect(said[0]!.facts).toMatchObject({
    hosts: 2,
    hostsByCores: 15,
    hostsBy: 'memory',
    maxRssBytes: plan.maxRssBytes,
  });
  const tight = await planned({ cores: 4, memoryBytes: 640 * MIB });
  expect(tight.plan).toMatchObject({ hosts: 1, replacesInPlace: true });
});

it('counts the memory of batches, which is on the card where there is one', async () => {
  const machine = { cores: 7, memoryBytes: 4096 * MIB };
  expect((await planned(machine)).plan.hosts).toBe(0);
  expect((await planned(machine, '--scheduling-batch-tokens', '32768')).plan.hosts).toBe(3);
  const onCard = await planned(machine, '--scheduling-batch-tokens', '262144', '--provider', 'cuda');
  expect(onCard.plan.hosts).toBe(0);
  expect(onCard.said.map(({ level }) => level)).toEqual(['info']);
});

it('keeps what is set, and warns where it does not fit', async () => {
  const flags = ['--inference-hosts', '4', '--inference-max-rss-bytes', '200MiB'];
  const { plan, said } = await planned({ cores: 4, memoryBytes: 700 * MIB }, ...flags);
  expect(plan.hosts).toBe(4);
  expect(plan.maxRssBytes).toBeLessThanOrEqual(200 * MIB);
  expect(said[0]!.facts).toMatchObject({ hostsBy: 'settings' });
  expect(said[1]).toMatchObject({ level: 'warn', message: expect.stringContaining('does not hold these hosts') });
  const { plan: own } = await planned({ cores: 4, memoryBytes: 8192 * MIB }, '--inference-max-rss-bytes', '200MiB');
  expect(own.maxRssBytes).toBe(200 * MIB);
  const none = await planned({ cores: 2, memoryBytes: 8192 * MIB }, '--inference-max-rss-bytes', '0');
  expect(none.plan.maxRssBytes).toBe(0);
  expect(none.said[1]).toMatchObject({ level: 'warn', message: expect.stringContaining('maxRssBytes is 0') });
});

it('counts the passage cache, which takes no host and no replacement their room unless it is set', async () => {
  const ample = await planned({ cores: 4, memoryBytes: 8192 * MIB });
  expect(ample.plan.passageBytes).toBe(512 * MIB);
  expect(ample.said[0]!.facts).toMatchObject({ passageBytes: 512 * MIB });
  expect((await planned({ cores: 4, memoryBytes: 64 * 1024 * MIB })).plan.passageBytes).toBe(1024 * MIB);
  for (const memoryBytes of [640, 760, 1024, 1100, 1500, 2048].map((mib) => mib * MIB)) {
    const machine = { cores: 2, memoryBytes };
    const [without, by] = [await planned(machine, '--cache-passage-bytes', '0'), await planned(machine)];
    expect(without.plan.passageBytes).toBe(0);
    expect(by.plan).toMatchObject({ hosts: without.plan.hosts, replacesInPlace: without.plan.replacesInPlace });
    // Loaded models are bounded as they were.
    expect(by.plan.modelBytes > 0).toBe(without.plan.modelBytes > 0);
    expect(by.said.map(({ level }) => level)).toEqual(without.said.map(({ level }) => level));
    expect(by.plan.hosts === 0 ? 2 * by.plan.maxRssBytes : by.plan.maxRssBytes).toBeLessThanOrEqual(
      memoryBytes - by.plan.passageBytes,
    );
  }
  const large = await planned({ cores: 4, memoryBytes: 2048 * MIB }, '--cache-passage-bytes', '1GiB');
  expect(large.plan).toMatchObject({ passageBytes: 1024 * MIB });
  expect(large.said[0]!.facts).toMatchObject({ hostsBy: 'memory', memoryBytes: 2048 * MIB });
  const beyond = await planned({ cores: 1, memoryBytes: 1024 * MIB }, '--cache-passage-bytes', '1GiB');
  expect(beyond.said[1]).toMatchObject({ level: 'warn', message: expect.stringContaining('the passage cache') });
});

it('bounds weights by the sizes of files, of every form of folder', async () => {
  expect(mostWeightBytes(registry(600 * MIB))).toBe(600 * MIB);
  expect(mostWeightBytes(join(folder, 'absent'))).toBe(Number.POSITIVE_INFINITY);
  const root = registry(10);
  writeFileSync(join(root, 'm', 'model.safetensors'), 'x'.repeat(100));
  expect(mostWeightBytes(root)).toBe(100);
  writeFileSync(join(root, 'm', '1', 'model.onnx.data'), 'x'.repeat(200));
  expect(mostWeightBytes(root)).toBe(210);
});

it('takes an empty registry as one without weights', async () => {
  const { plan, said } = await planned(
    { cores: 2, memoryBytes: 2048 * MIB },
    '--models',
    mkdtempSync(join(folder, 'none-')),
  );
  expect(plan.hosts).toBe(0);
  expect(said).toHaveLength(1);
});

import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { cpuBudget } from '../../src/inference/cgroup.ts';
import { chooseLayout } from '../../src/main/choose-layout.ts';
import { defaultGraph } from '../../src/main/default-graph.ts';
import { MODELS, SHIPPED_NAME } from '../support/shipped.ts';

function chosen(...flags: string[]) {
  const said: string[] = [];
  const say = (_: unknown, message?: string) => void said.push(message ?? '');
  const config = loadConfig(['--models', MODELS, '--provider', 'cpu', ...flags], {});
  return { said, layout: chooseLayout(config, { info: say, warn: say }) };
}

it('measures the default model on request', async () => {
  const { layout, said } = chosen('--inference-calibrate', 'true');
  const { hosts, threads } = await layout;
  expect(hosts * threads).toBe(cpuBudget());
  expect(said).toEqual(['calibrated']);
});

it.each([
  [[], { hosts: 0, threads: 0 }],
  [['--inference-calibrate', 'true', '--inference-hosts', '3'], { hosts: 3, threads: 0 }],
  [['--inference-calibrate', 'true', '--inference-threads', '2'], { hosts: 0, threads: 2 }],
])('takes what is set: %j', async (flags, expected) => {
  const { layout, said } = chosen(...flags);
  expect(await layout).toEqual(expected);
  expect(said).toEqual([]);
});

it('starts all the same where there is no model to measure with', async () => {
  const { layout, said } = chosen('--inference-calibrate', 'true', '--registry-default-model', 'absent');
  expect(await layout).toEqual({ hosts: 0, threads: 0 });
  expect(said).toEqual(['not calibrated']);
});

it('means the model that default.json names', async () => {
  const config = loadConfig(['--models', MODELS], {});
  expect((await defaultGraph(config))?.key).toBe(`${SHIPPED_NAME}@1`);
});

it('means the one that is configured, by name, version or label', async () => {
  const other = readdirSync(MODELS).find((name) => name !== SHIPPED_NAME && !name.endsWith('.json'))!;
  for (const reference of [other, `${other}@1`, `${other}:stable`]) {
    const config = loadConfig(['--models', MODELS, '--registry-default-model', reference], {});
    expect((await defaultGraph(config))?.key).toBe(`${other}@1`);
  }
});

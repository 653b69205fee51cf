import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { scratch, writeExport } from '../registry/support.ts';
import { openHubServer } from '../support/hub-server.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Container {
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
}

const run = promisify(execFile);

it('the init container of models-pull loads its model where the server reads, also when it runs again', async () => {
  const text = readFileSync(join(ROOT, 'k8s/components/models-pull/deployment.yaml'), 'utf8');
  const [container]: Container[] = parse(text).spec.template.spec.initContainers;
  const [hub, volume] = [await scratch(), await scratch()];
  const given = container!.env.flatMap(({ name, value }) =>
    value === undefined ? [] : [[name, value.replace('/app/cache', volume)]],
  );
  const env: Record<string, string> = { ...Object.fromEntries(given), MODEL: 'acme/ranker' };
  await writeExport(join(hub, 'ranker'));
  const server = await openHubServer(hub);
  onTestFinished(() => server.close());
  const winnow = (...args: string[]) =>
    run(process.execPath, [join(ROOT, 'bin/winnow.mjs'), ...args], {
      env: { PATH: process.env.PATH, HF_ENDPOINT: server.url, ...env },
      timeout: 120_000,
    });
  const args = container!.args.map((arg) => arg.replaceAll(/\$\((\w+)\)/g, (_, name: string) => env[name]!));
  await winnow(...args);
  await winnow(...args);
  const { stdout } = await winnow('models', 'list');
  expect(stdout).toMatch(/^ranker.*stable/m);
});

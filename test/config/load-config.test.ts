import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, printConfig } from '../../src/config/load-config.ts';
import { settingsHelp } from '../../src/config/setting-help.ts';
import { settings } from '../../src/config/setting-list.ts';
import { WinnowError } from '../../src/errors.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'winnow-config-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const file = (text: string): string => {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.yaml`);
  writeFileSync(path, text);
  return path;
};
const load = (argv: readonly string[] = [], env: Record<string, string> = {}) =>
  loadConfig(argv, { WINNOW_MODELS: folder, ...env });
const faults = (argv: readonly string[], env: Record<string, string> = {}): string[] => {
  try {
    load(argv, env);
  } catch (error) {
    if (error instanceof WinnowError && error.code === 'invalid_config') return error.message.split('\n').slice(1);
    throw error;
  }
  return [];
};

describe('the passage cache', () => {
  it('has a size that the server chooses, a size that is set, or none', () => {
    expect(load().cache).toEqual({ shared: false });
    expect(load(['--cache-passage-bytes', '64MiB', '--cache-shared', 'true']).cache).toEqual({
      passageBytes: 64 * 2 ** 20,
      shared: true,
    });
    expect(load([], { WINNOW_CACHE_PASSAGE_BYTES: '0' }).cache.passageBytes).toBe(0);
  });

  it('is refused where it is too small, or shared although it is off', () => {
    expect(faults(['--cache-passage-bytes', '1000'])).toEqual([
      expect.stringContaining('cache.passageBytes: expected 0 or at least 1048576 (1 MiB), got 1000'),
    ]);
    expect(faults(['--cache-passage-bytes', '0', '--cache-shared', 'true'])).toEqual([
      expect.stringContaining('cache.shared: expected false, since cache.passageBytes is 0'),
    ]);
    expect(faults(['--cache-passage-bytes', '-1'])).toHaveLength(1);
  });
});

describe('the devices of the hosts', () => {
  const device = (argv: readonly string[], env: Record<string, string> = {}) => load(argv, env).inference.device;

  it('are an integer or a list, in every place', () => {
    expect(device([])).toBe(0);
    expect(device(['--inference-device', '3'])).toBe(3);
    expect(device(['--inference-device', '0,1'])).toEqual([0, 1]);
    expect(device(['--inference-device=2, 0'])).toEqual([2, 0]);
    expect(device(['--inference-device', '0', '--inference-device', '1'])).toEqual([0, 1]);
    expect(device([], { WINNOW_INFERENCE_DEVICE: '1' })).toBe(1);
    expect(device([], { WINNOW_INFERENCE_DEVICE: '0,1,2' })).toEqual([0, 1, 2]);
    expect(device([], { WINNOW_CONFIG: file('inference: {device: 2}') })).toBe(2);
    expect(device([], { WINNOW_CONFIG: file('inference: {device: [0, 1]}') })).toEqual([0, 1]);
    expect(device([], { WINNOW_CONFIG: file('inference: {device: "0,1"}') })).toEqual([0, 1]);
  });

  it('are printed as they were set, and read back', () => {
    for (const set of ['0', '3', '0,1', '4,0,2']) {
      const config = load(['--inference-device', set]);
      expect(load([], { WINNOW_CONFIG: file(printConfig(config)) }).inference.device).toEqual(config.inference.device);
    }
  });

  it.each(['0,0', '-1', '0,-1', '65', '0,65', '0.5', 'all', '0,x', ',', '0;1'])('are refused as %s', (text) => {
    expect(faults([`--inference-device=${text}`])).toEqual([
      expect.stringMatching(
        /^ {2}- --inference-device: expected an integer from 0 to 64, or different ones such as 0,1, got /,
      ),
    ]);
  });

  it.each(['[]', '[[0, 1]]', '{a: 1}', 'true', '[0, null]'])('are refused as %s in the file', (text) => {
    const found = faults([], { WINNOW_CONFIG: file(`inference: {device: ${text}}`) });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(
      'inference.device: expected an integer from 0 to 64, or different ones such as 0,1, got ',
    );
  });

  it('are several only where the provider can choose between them', () => {
    for (const provider of ['cpu', 'webgpu'])
      expect(faults(['--provider', provider, '--inference-device', '0,1'])).toEqual([
        `  - inference.device: expected one device, since inference.provider ${provider} cannot choose between devices, got 0, 1`,
      ]);
    for (const provider of ['auto', 'cuda'])
      expect(device(['--provider', provider, '--inference-device', '0,1'])).toHaveLength(2);
    expect(device(['--provider', 'cpu', '--inference-device', '1'])).toBe(1);
  });

  it('share the hosts equally', () => {
    for (const hosts of ['0', '2', '4'])
      expect(device(['--inference-device', '0,1', '--inference-hosts', hosts])).toHaveLength(2);
    for (const hosts of ['1', '3'])
      expect(faults(['--inference-device', '0,1', '--inference-hosts', hosts])).toEqual([
        `  - inference.hosts: expected 0 or a multiple of the 2 devices of inference.device, got ${hosts}`,
      ]);
  });
});

describe('where a setting comes from', () => {
  it('has a default for everything', () => {
    const config = load();
    expect(config.server).toMatchObject({ host: '::', port: 8080, maxPassages: 10_000, corsOrigins: [] });
    expect(config.registry.defaultModel).toBeUndefined();
    expect(config.telemetry.traceRatio).toBe(1);
  });

  it('takes the flag before the environment before the file before the default', () => {
    const config = file('server: {port: 1001, maxPassages: 1002, drainMs: 1003}\nauth:\n');
    const env = { WINNOW_CONFIG: config, WINNOW_SERVER_PORT: '2001', WINNOW_SERVER_MAX_PASSAGES: '2002' };
    const { server } = load(['--server-port', '3001'], env);
    expect(server).toMatchObject({ port: 3001, maxPassages: 2002, drainMs: 1003, headerTimeoutMs: 15_000 });
  });

  it('reads what flags say of bi-encoders; a toggle may stand without a value', () => {
    const flags = ['--bi-encoder', '--pooling', 'mean', '--query-prefix', 'query: ', '--passage-prefix=passage: '];
    expect(load(['--model', 'org/e5', ...flags]).registry).toMatchObject({
      biEncoder: true,
      pooling: 'mean',
      queryPrefix: 'query: ',
      passagePrefix: 'passage: ',
    });
    expect(load(['--registry-watch']).registry.watch).toBe(true);
    expect(() => load(['--model', 'org/e5', '--pooling'])).toThrow(/--pooling: expected a value/);
    expect(() => load(['--model', 'org/e5', '--pooling', 'median'])).toThrow(/one of cls, max, mean/);
    expect(() => load(flags)).toThrow(/registry.queryPrefix: expected models in registry.sources/);
  });

  it('knows PORT, WINNOW_MODELS, --port and --models', () => {
    expect(loadConfig([], { PORT: '81', WINNOW_MODELS: folder })).toMatchObject({
      server: { port: 81 },
      registry: { folder },
    });
    expect(loadConfig(['--port=82', '--models', folder], { PORT: '81', WINNOW_MODELS: '/nowhere' })).toMatchObject({
      server: { port: 82 },
      registry: { folder },
    });
    expect(load([], { PORT: '81', WINNOW_SERVER_PORT: '83' }).server.port).toBe(83);
  });

  it('takes --config before WINNOW_CONFIG', () => {
    const [a, b] = [file('server: {port: 1}'), file('server: {port: 2}')];
    expect(load(['--config', a], { WINNOW_CONFIG: b }).server.port).toBe(1);
  });

  it('reads sizes, truth values and lists from text', () => {
    const config = load([
      '--registry-watch',
      'false',
      '--tokenization-cache-bytes=128MiB',
      '--registry-preload',
      'a, b,',
    ]);
    expect(config.registry).toMatchObject({ watch: false, preload: ['a', 'b'] });
    expect(config.tokenization.cacheBytes).toBe(134_217_728);
    expect(load([], { WINNOW_TELEMETRY_TRACE_RATIO: '.25' }).telemetry.traceRatio).toBe(0.25);
  });

  it('adds up a list whose flag is repeated', () => {
    const flags = ['--model', 'org/a,org/b', '--registry-sources', './c', '--model=d'];
    expect(load(flags).registry.sources).toEqual(['org/a', 'org/b', './c', 'd']);
    expect(load(['--port', '1', '--port', '2']).server.port).toBe(2);
  });

  it('reads named cascades from the file and from text, and refuses stages that make no sense', async () => {
    const accurate = [
      { model: 'small', keep: 50 },
      { model: 'large@2', blend: 0.5 },
    ];
    expect(load([]).registry.cascades).toEqual({});
    expect(load(['--registry-cascades', JSON.stringify({ accurate })]).registry.cascades).toEqual({ accurate });
    const fault = (stages: unknown, flags: readonly string[] = []) => {
      try {
        load(['--registry-cascades', JSON.stringify({ both: stages }), ...flags]);
      } catch (error) {
        return String(error);
      }
      return 'none';
    };
    const [small, large] = accurate;
    const at = (place: string) => `--registry-cascades: both.${place}: expected`;
    expect(fault([small])).toContain('--registry-cascades: expected 2 to 8 stages, got');
    expect(fault([{ model: 'small' }, large])).toContain(`${at('0.keep')} how many passages go on, got nothing`);
    expect(fault([{ ...small, blend: 0.2 }, large])).toMatch(
      /both\.0\.blend: expected none in the first stage.*, got 0\.2/,
    );
    expect(fault([small, { model: 'large', keep: 5 }])).toMatch(
      /both\.1\.keep: expected none in the last stage.*, got 5/,
    );
    expect(fault([small, { model: 'large', blend: 1 }])).toContain(
      `${at('1.blend')} a number of at least 0 and below 1, got 1`,
    );
    expect(fault([small, { model: 'a b' }])).toContain(
      `${at('1.model')} model, model@version or model:label, got "a b"`,
    );
    expect(fault(accurate, ['--registry-aliases', 'both=small'])).toContain(
      'expected names that registry.aliases does not have, got both',
    );
    expect(() => load(['--registry-cascades', 'accurate'])).toThrow(
      /--registry-cascades: expected names, each with its stages/,
    );
  });

  it('imports models into the cache unless a registry folder is named', () => {
    const env = { WINNOW_MODELS: '', XDG_CACHE_HOME: '/cache' };
    expect(load(['--model', 'org/a'], env).registry.folder).toBe('/cache/winnow/models');
    expect(load(['--model', 'org/a']).registry.folder).toBe(folder);
    expect(load(['--model', ''], { ...env, WINNOW_MODELS: folder }).registry).toMatchObject({ sources: [], folder });
    expect(() => load(['--model', 'org/a', '--models', '/no/such'])).toThrow(
      /--models: expected a folder, got \/no\/such/,
    );
  });

  it('takes an empty variable and an empty key of the file for unset', () => {
    const config = file('server:\n  port:\n');
    expect(load([], { WINNOW_CONFIG: config, WINNOW_SERVER_PORT: '', WINNOW_AUTH_KEYS_FILE: '' }).server.port).toBe(
      8080,
    );
  });

  it('gives every integer it accepts back, from text as from the file', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65_535 }), (port) => {
        expect(load(['--port', String(port)]).server.port).toBe(port);
      }),
    );
  });
});

describe('faults', () => {
  it('are reported all at once, each with the place it came from', () => {
    const config = file('server: {port: many, prot: 1}\nsrever: {}\nauth: 5\ntelemetry: {otlpEndpoint: "ftp://x"}\n');
    const found = faults(['--server-drain-ms', '-1', '--prot', '7', '--inference-provider=tpu', '--models'], {
      WINNOW_CONFIG: config,
      WINNOW_SERVER_MAX_PASSAGES: '10001',
      WINNOW_SERVER_PROT: '1',
      WINNOW_AUTH_KEYS_FILE: join(folder, 'none.yaml'),
    });
    expect(found).toEqual([
      `  - ${config}: server.prot: expected a known setting, got an unknown one; did you mean server.port?`,
      `  - ${config}: srever: expected a known section, got an unknown one; did you mean server?`,
      `  - ${config}: auth: expected a mapping of settings, got 5 (number)`,
      '  - WINNOW_SERVER_PROT: expected a known variable, got an unknown one; did you mean WINNOW_SERVER_PORT?',
      '  - --prot: expected a known flag, got an unknown one; did you mean --port?',
      '  - --models: expected a value, got nothing',
      `  - WINNOW_AUTH_KEYS_FILE: expected a file, got ${folder}/none.yaml, which is missing`,
      `  - ${config}: server.port: expected an integer from 0 to 65 535, got "many" (string)`,
      '  - WINNOW_SERVER_MAX_PASSAGES: expected an integer from 1 to 10 000, got "10001" (string)',
      '  - --server-drain-ms: expected an integer from 0 to 600 000, got "-1" (string)',
      '  - --inference-provider: expected one of auto, cuda, webgpu, cpu, got "tpu" (string)',
      `  - ${config}: telemetry.otlpEndpoint: expected a URL that starts with http:// or https://, got "ftp://x" (string)`,
    ]);
  });

  it.each([
    ['a fraction', ['--port', '80.5']],
    ['an empty number', ['--port=']],
    ['a hexadecimal number', ['--port', '0x50']],
    ['a word for truth', ['--registry-watch', 'yes']],
    ['an origin with a path', ['--server-cors-origins', 'https://a.example/x']],
    ['a registry that is a file', ['--models', import.meta.filename]],
    ['a queue smaller than a batch', ['--scheduling-queue-tokens', '100']],
    ['a missing configuration file', ['--config', '/nowhere/winnow.yaml']],
    ['something that is no flag', ['serve']],
  ])('include %s', (_name, argv) => {
    expect(faults(argv)).toHaveLength(1);
  });

  it.each(['- a\n', 'text', 'a: [\n'])('include a file that is no mapping: %j', (text) => {
    expect(faults(['--config', file(text)])).toHaveLength(1);
  });

  it('leave variables of others alone, such as those Kubernetes derives from a service named winnow', () => {
    expect(faults([], { WINNOW_SERVICE_HOST: '10.0.0.1', WINNOW_PORT_8080_TCP: 'tcp://10.0.0.1:8080' })).toEqual([]);
  });
});

describe('the configuration', () => {
  it('is frozen to the bottom', () => {
    const config = load(['--registry-preload', 'a']) as unknown as {
      server: { port: number };
      registry: { preload: string[] };
    };
    expect(() => {
      config.server.port = 1;
    }).toThrow(TypeError);
    expect(() => config.registry.preload.push('b')).toThrow(TypeError);
  });

  it('hides secrets however it is printed, and gives them to whom asks', () => {
    const secret = 'postgres://winnow:hunter2@db/winnow';
    const config = load(['--experiments-unit-secret', secret], { WINNOW_EXPERIMENTS_DATABASE: secret });
    const printed = [
      JSON.stringify(config),
      inspect(config, { depth: 9 }),
      `${config.experiments.database}`,
      printConfig(config),
    ];
    for (const text of printed) {
      expect(text).not.toContain('hunter2');
      expect(text).toContain('[secret]');
    }
    expect(config.experiments.database.reveal()).toBe(secret);
    const bad = faults(['--config', file('experiments: {unitSecret: {hunter2: 1}}')]);
    expect(bad).toHaveLength(1);
    expect(bad.join('')).not.toContain('hunter2');
  });

  it('is printed so that it can be read again', () => {
    const config = load(['--port', '81', '--server-cors-origins', 'https://a.example']);
    expect(load(['--config', file(printConfig(config))])).toEqual(config);
  });
});

describe('the help', () => {
  it('names every setting with its flag, variable, aliases and default', () => {
    const help = settingsHelp();
    for (const { flag, env, aliases, description } of settings())
      for (const part of [flag, env, description, ...aliases]) expect(help).toContain(part);
    expect(help).toContain('WINNOW_SERVER_PORT, PORT; an integer from 0 to 65 535; default 8080');
  });

  it('keeps names apart', () => {
    const all = settings().flatMap(({ flag, env, aliases }) => [flag, env, ...aliases]);
    expect(new Set(all).size).toBe(all.length);
  });
});

import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { describe, WinnowError } from './errors.ts';

/*
 * One schema for every setting of `winnow serve`: type, default, limits and help text stand together. A setting's place in the file
 * (`server.port`), its environment variable (`WINNOW_SERVER_PORT`) and its flag (`--server-port`) follow from its path; the few names
 * users expect besides (`PORT`, `--models`) stand in ALIASES. Flags win over the environment, the environment over the file.
 */

const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const real = (min: number, max: number) => z.coerce.number().min(min).max(max);
const toggle = z.union([z.boolean(), z.enum(['true', 'false', '1', '0']).transform((v) => v === 'true' || v === '1')]);
const list = <T extends z.ZodType>(item: T) =>
  z.preprocess(
    (v) =>
      typeof v === 'string'
        ? v
            .split(',')
            .map((s) => s.trim())
            .filter(Boolean)
        : v,
    z.array(item),
  );

export const PROVIDERS = ['cuda', 'webgpu', 'cpu'] as const;

export const configSchema = z.strictObject({
  server: z
    .strictObject({
      host: z.string().default('0.0.0.0').describe('Address to listen on.'),
      port: integer(0, 65535).default(8080).describe('Port to listen on; 0 takes a free one.'),
      bodyLimitBytes: integer(1024, 1 << 30)
        .default(33_554_432)
        .describe('Largest request body, in bytes.'),
      maxPassages: integer(1, 10_000).default(10_000).describe('Most passages one request may carry.'),
      requestTimeoutMs: integer(100, 3_600_000)
        .default(60_000)
        .describe('Deadline of a request that names none, in milliseconds.'),
      headerTimeoutMs: integer(100, 600_000)
        .default(15_000)
        .describe('How long a client may take to send headers and body, in milliseconds.'),
      drainMs: integer(0, 600_000)
        .default(30_000)
        .describe('How long in-flight requests may finish after SIGTERM, in milliseconds.'),
      corsOrigins: list(z.string()).default([]).describe('Origins that browsers may call from; none by default.'),
    })
    .prefault({}),
  auth: z
    .strictObject({
      keysFile: z
        .string()
        .optional()
        .describe('YAML file of API keys: name, sha256 of the key, scopes. Without keys everybody may call.'),
      requestsPerMinute: integer(0, 10_000_000)
        .default(0)
        .describe('Requests a minute a key (or address) may make; 0 means no limit.'),
    })
    .prefault({}),
  registry: z
    .strictObject({
      folder: z.string().default('models').describe('Registry folder: <name>/<version>/ in Hugging Face layout.'),
      defaultModel: z
        .string()
        .optional()
        .describe('Model that answers requests naming none; the only or first one if unset.'),
      preload: list(z.string()).default([]).describe('Models to load at start besides the default one.'),
      watch: toggle.default(true).describe('Follow completed renames in the registry folder.'),
      memoryBytes: integer(0, 2 ** 42)
        .default(0)
        .describe('Budget for loaded models, in bytes; least recently used ones unload. 0: no limit.'),
      pinned: list(z.string()).default([]).describe('Models never unloaded for memory.'),
      variant: z
        .enum(['auto', 'fp32', 'fp16', 'int8'])
        .default('auto')
        .describe('Which ONNX file of a version to serve; auto: int8 on CPU, fp16 on a GPU, else what is there.'),
      maxModelBytes: integer(1024, 2 ** 42)
        .default(8_589_934_592)
        .describe('Largest model folder admitted, in bytes.'),
    })
    .prefault({}),
  inference: z
    .strictObject({
      provider: z
        .enum(['auto', ...PROVIDERS])
        .default('auto')
        .describe('Execution provider; auto takes the first that works of cuda, webgpu (hardware), cpu.'),
      hosts: integer(0, 256).default(0).describe('Inference processes; 0 derives them from the cores.'),
      threads: integer(0, 256).default(0).describe("Threads of each process; 0 divides the cgroup's quota."),
      maxRssBytes: integer(0, 2 ** 42)
        .default(4_294_967_296)
        .describe('A process above this memory is recycled between batches; 0: never.'),
      batchTimeoutMs: integer(100, 3_600_000)
        .default(30_000)
        .describe('A process whose batch lasts longer is killed and replaced.'),
      device: integer(0, 64).default(0).describe('GPU index.'),
    })
    .prefault({}),
  tokenization: z
    .strictObject({
      threads: integer(0, 64).default(0).describe('Worker threads; 0 derives them from the cores.'),
      cacheBytes: integer(0, 2 ** 40)
        .default(67_108_864)
        .describe('Memory for token ids of passages seen before; 0 turns it off.'),
      maxQueryTokens: integer(1, 8192).default(64).describe('Query tokens kept at the most.'),
      truncation: z
        .enum(['longest_first', 'only_second'])
        .default('longest_first')
        .describe('Which side loses tokens when a pair is too long.'),
      longPassages: z
        .enum(['truncate', 'max', 'mean'])
        .default('truncate')
        .describe('Long passages: truncate, or score windows and take max or mean.'),
      windowOverlap: integer(0, 4096).default(32).describe('Tokens that neighbouring windows share.'),
    })
    .prefault({}),
  scheduling: z
    .strictObject({
      batchTokens: integer(16, 1 << 22)
        .default(4096)
        .describe('Padded tokens a batch may hold.'),
      batchRows: integer(1, 4096).default(64).describe('Rows a batch may hold.'),
      queueTokens: integer(16, 1 << 30)
        .default(4_000_000)
        .describe('Tokens that may wait; beyond it requests get 429 at once.'),
      maxWaitMs: integer(1, 3_600_000)
        .default(10_000)
        .describe('Predicted wait beyond which a request gets 429 at once.'),
      agingMs: integer(1, 3_600_000)
        .default(2000)
        .describe('Wait after which a lower lane counts as the next higher one.'),
    })
    .prefault({}),
  scoreCache: z
    .strictObject({
      bytes: integer(0, 2 ** 40)
        .default(0)
        .describe('Memory for scores of pairs seen before; 0 turns it off.'),
    })
    .prefault({}),
  experiments: z
    .strictObject({
      file: z.string().optional().describe('experiments.yaml; watched. Environment: WINNOW_EXPERIMENTS.'),
      database: z
        .string()
        .default('')
        .describe(
          'Where exposures and outcomes go: a SQLite file or a postgres:// URL; empty: runs/experiments.sqlite once an experiment is defined.',
        ),
      retentionDays: integer(1, 3650).default(90).describe('Days exposures and outcomes are kept.'),
      unitSecret: z
        .string()
        .default('')
        .describe(
          'Key of the hash under which unit ids are stored; a random one, kept in the database, if empty. Secret.',
        ),
      bufferRows: integer(1, 10_000_000)
        .default(100_000)
        .describe('Exposures that may wait for the database; more are lost and counted.'),
    })
    .prefault({}),
  telemetry: z
    .strictObject({
      logLevel: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .describe('Least level that is logged.'),
      otlpEndpoint: z.string().optional().describe('OpenTelemetry collector (OTLP over HTTP); no export if unset.'),
      traceRatio: real(0, 1).default(1).describe('Share of requests without a sampled parent that are traced.'),
    })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;

/** Names besides the derived ones: environment variable or flag → path. */
export const ALIASES: Readonly<Record<string, string>> = {
  PORT: 'server.port',
  WINNOW_MODELS: 'registry.folder',
  WINNOW_EXPERIMENTS: 'experiments.file',
  '--port': 'server.port',
  '--host': 'server.host',
  '--models': 'registry.folder',
  '--provider': 'inference.provider',
  '--experiments': 'experiments.file',
};

export interface Setting {
  readonly path: string;
  readonly env: string;
  readonly flag: string;
  readonly help: string;
  readonly default: unknown;
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** Every setting with its names, in the schema's order. The help, the docs and the parser are all made from this list. */
export function settings(): readonly Setting[] {
  const defaults = configSchema.parse({}) as Record<string, Record<string, unknown>>;
  return Object.entries(configSchema.shape).flatMap(([section, wrapped]) =>
    Object.entries(wrapped.unwrap().shape as Record<string, z.ZodType>).map(([key, schema]) => ({
      path: `${section}.${key}`,
      env: `WINNOW_${kebab(section)}_${kebab(key)}`.replaceAll('-', '_').toUpperCase(),
      flag: `--${kebab(section)}-${kebab(key)}`,
      help: schema.description ?? '',
      default: defaults[section]?.[key],
    })),
  );
}

type Tree = Record<string, Record<string, unknown>>;

function put(tree: Tree, path: string, value: unknown): void {
  const [section = '', key = ''] = path.split('.');
  tree[section] = { ...tree[section], [key]: value };
}

function readFile(path: string, faults: string[]): Tree {
  try {
    const parsed: unknown = parseYaml(readFileSync(path, 'utf8')) ?? {};
    if (typeof parsed === 'object' && !Array.isArray(parsed)) return structuredClone(parsed) as Tree;
    faults.push(`${path}: expected a mapping of sections, got ${describe(parsed)}`);
  } catch (error) {
    faults.push(`${path}: expected a readable YAML file, got ${(error as Error).message.split('\n')[0]}`);
  }
  return {};
}

function readFlags(argv: readonly string[], tree: Tree, faults: string[]): string | undefined {
  const byFlag = new Map(settings().map((s) => [s.flag, s.path]));
  let file: string | undefined;
  for (let i = 0; i < argv.length; i++) {
    const [flag = '', inline] = argv[i]!.split(/=(.*)/s);
    const path = byFlag.get(flag) ?? ALIASES[flag];
    if (flag !== '--config' && !path) {
      faults.push(`${flag}: expected a flag of \`winnow serve --help\`, got an unknown one`);
      continue;
    }
    const value = inline ?? argv[++i];
    if (value === undefined) faults.push(`${flag}: expected a value, got nothing`);
    else if (path) put(tree, path, value);
    else file = value;
  }
  return file;
}

function received(tree: unknown, path: readonly PropertyKey[]): string {
  return describe(path.reduce<unknown>((node, key) => (node as Record<PropertyKey, unknown> | undefined)?.[key], tree));
}

/**
 * Builds the configuration from flags, environment and file, frozen.
 * @throws WinnowError `invalid_config` naming every fault at once.
 */
export function loadConfig(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Config {
  const faults: string[] = [];
  const flags: Tree = {};
  const file = readFlags(argv, flags, faults) ?? env.WINNOW_CONFIG;
  const tree = file ? readFile(file, faults) : {};
  for (const [name, path] of Object.entries(ALIASES))
    if (!name.startsWith('-') && env[name]) put(tree, path, env[name]);
  for (const { env: name, path } of settings()) if (env[name] !== undefined) put(tree, path, env[name]);
  for (const [section, keys] of Object.entries(flags))
    for (const [key, value] of Object.entries(keys)) put(tree, `${section}.${key}`, value);
  const result = configSchema.safeParse(tree);
  if (!result.success)
    for (const issue of result.error.issues)
      faults.push(`${issue.path.join('.') || 'configuration'}: ${issue.message}, got ${received(tree, issue.path)}`);
  if (!result.success || faults.length > 0)
    throw new WinnowError('invalid_config', { count: faults.length, faults: faults.map((f) => `  - ${f}`).join('\n') });
  for (const section of Object.values(result.data)) Object.freeze(section);
  return Object.freeze(result.data);
}

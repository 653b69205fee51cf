import { z } from 'zod';
import {
  bytes,
  choice,
  integer,
  list,
  optionalText,
  optionalUrl,
  origin,
  real,
  secret,
  text,
  toggle,
} from './setting-fields.ts';

export const PROVIDERS = ['cuda', 'webgpu', 'cpu'] as const;

const names = () => z.string('expected a name').min(1, 'expected a name');

/** Every setting of `winnow serve`: type, default, limits and help text stand together. */
export const configSchema = z.strictObject({
  server: z.strictObject({
    host: text('0.0.0.0', 'Address to listen on.'),
    port: integer(0, 65_535, 8080, 'Port to listen on; 0 takes a free one.'),
    bodyLimitBytes: bytes(1024, 2 ** 30, 33_554_432, 'Largest request body.'),
    maxPassages: integer(1, 10_000, 10_000, 'Most passages one request may carry.'),
    requestTimeoutMs: integer(100, 3_600_000, 60_000, 'Deadline of a request that names none, in milliseconds.'),
    headerTimeoutMs: integer(
      100,
      600_000,
      15_000,
      'How long a client may take to send headers and body, in milliseconds.',
    ),
    writeTimeoutMs: integer(
      100,
      3_600_000,
      30_000,
      'How long a client may take no byte of its answer before its connection is closed, in milliseconds; ten times as long for the whole answer.',
    ),
    inFlightBytes: bytes(
      1_048_576,
      2 ** 40,
      134_217_728,
      'Unpacked request bodies and answers held at once by all requests; more are refused with 429. An eighth is kept for bodies up to 64 KiB.',
    ),
    maxConnections: integer(
      0,
      1_000_000,
      0,
      'Connections open at once; further ones are closed. 0 derives it from the limit of open files, less a reserve.',
    ),
    drainMs: integer(0, 600_000, 30_000, 'How long in-flight requests may finish after SIGTERM, in milliseconds.'),
    autoTruncate: toggle(true, 'Cut pairs that are too long where a request says nothing; false refuses them.'),
    trustedProxies: integer(0, 16, 0, 'Proxies in front whose X-Forwarded-For is believed (rate limit by address).'),
    corsOrigins: list(origin, 'origins, separated by commas', 'Origins that browsers may call from; none by default.'),
  }),
  auth: z.strictObject({
    keysFile: optionalText(
      'YAML file of API keys: name, sha256 of the key, scopes. Without keys everybody may call.',
      'file',
    ),
    requestsPerMinute: integer(0, 10_000_000, 0, 'Requests a minute a key (or address) may make; 0 means no limit.'),
  }),
  registry: z.strictObject({
    folder: text('models', 'Registry folder: <name>/<version>/ in Hugging Face layout.', 'folder'),
    defaultModel: optionalText(
      'Model that answers requests naming none; if unset the one in default.json of the registry folder, else the first by name.',
    ),
    preload: list(names(), 'names, separated by commas', 'Models to load at start besides the default one.'),
    watch: toggle(true, 'Follow completed renames in the registry folder.'),
    memoryBytes: bytes(0, 2 ** 42, 0, 'Budget for loaded models; least recently used ones unload. 0: no limit.'),
    pinned: list(names(), 'names, separated by commas', 'Models never unloaded for memory.'),
    variant: choice(
      ['auto', 'fp32', 'fp16', 'int8'],
      'auto',
      'Which ONNX file of a version to serve; auto: int8 on CPU, fp16 on a GPU, else what is there.',
    ),
    maxModelBytes: bytes(1024, 2 ** 42, 8_589_934_592, 'Largest model folder admitted.'),
  }),
  inference: z.strictObject({
    provider: choice(
      ['auto', ...PROVIDERS],
      'auto',
      'Execution provider; auto takes the first that works of cuda, webgpu (hardware), cpu.',
    ),
    hosts: integer(0, 256, 0, 'Inference processes; 0 derives them from the cores.'),
    threads: integer(0, 256, 0, "Threads of each process; 0 divides the cgroup's quota."),
    calibrate: toggle(
      false,
      'Measure at start which hosts and threads score the default model fastest (CPU, and neither of them set).',
    ),
    maxRssBytes: bytes(0, 2 ** 42, 4_294_967_296, 'A process above this memory is recycled between batches; 0: never.'),
    batchTimeoutMs: integer(
      100,
      3_600_000,
      30_000,
      'A process whose batch lasts longer is killed and replaced, in milliseconds.',
    ),
    device: integer(0, 64, 0, 'GPU index.'),
  }),
  tokenization: z.strictObject({
    threads: integer(0, 64, 0, 'Worker threads; 0 derives them from the cores.'),
    cacheBytes: bytes(0, 2 ** 40, 67_108_864, 'Memory for token ids of passages seen before; 0 turns it off.'),
    maxQueryTokens: integer(1, 8192, 64, 'Query tokens kept at the most.'),
    truncation: choice(
      ['longest_first', 'only_second'],
      'longest_first',
      'Which side loses tokens when a pair is too long.',
    ),
    longPassages: choice(
      ['truncate', 'max', 'mean'],
      'truncate',
      'Long passages: truncate, or score windows and take max or mean.',
    ),
    windowOverlap: integer(0, 4096, 32, 'Tokens that neighboring windows share.'),
  }),
  scheduling: z.strictObject({
    batchTokens: integer(16, 2 ** 22, 4096, 'Padded tokens a batch may hold.'),
    batchRows: integer(1, 4096, 64, 'Rows a batch may hold.'),
    queueTokens: integer(16, 2 ** 30, 4_000_000, 'Tokens that may wait; beyond it requests get 429 at once.'),
    maxWaitMs: integer(
      1,
      3_600_000,
      10_000,
      'Predicted wait beyond which a request gets 429 at once, in milliseconds.',
    ),
    agingMs: integer(
      1,
      3_600_000,
      2000,
      'Wait after which a lower lane counts as the next higher one, in milliseconds.',
    ),
  }),
  scoreCache: z.strictObject({
    bytes: bytes(0, 2 ** 40, 0, 'Memory for scores of pairs seen before; 0 turns it off.'),
  }),
  experiments: z.strictObject({
    file: optionalText('experiments.yaml; watched.', 'file'),
    database: secret(
      'Where exposures and outcomes go: a SQLite file or a postgres:// URL; empty: runs/experiments.sqlite once an experiment is defined.',
    ),
    retentionDays: integer(1, 3650, 90, 'Days exposures and outcomes are kept.'),
    unitSecret: secret(
      'Key of the hash under which unit ids are stored; a random one, kept in the database, if empty.',
    ),
    flagProvider: optionalText(
      'Module whose default export is an OpenFeature provider; its flags then decide the arms of split experiments.',
      'file',
    ),
    bufferRows: integer(1, 10_000_000, 100_000, 'Exposures that may wait for the database; more are lost and counted.'),
  }),
  telemetry: z.strictObject({
    logLevel: choice(['trace', 'debug', 'info', 'warn', 'error', 'silent'], 'info', 'Least level that is logged.'),
    otlpEndpoint: optionalUrl('OpenTelemetry collector (OTLP over HTTP); no export if unset.'),
    traceRatio: real(0, 1, 1, 'Share of requests without a sampled parent that are traced.'),
  }),
});

export type Config = z.infer<typeof configSchema>;

import { z } from 'zod';
import { PLACEHOLDER_IDS } from '../util/placeholder-ids.ts';
import { cacheSettings } from './cache-settings.ts';
import { inferenceSettings } from './inference-settings.ts';
import { registrySettings } from './registry-settings.ts';
import {
  basePath,
  bytes,
  choice,
  hostName,
  integer,
  list,
  optionalInteger,
  optionalText,
  optionalUrl,
  origin,
  real,
  secret,
  text,
  toggleOr,
} from './setting-fields.ts';

/** Every setting of `winnow serve`. Type, limits, default and help text of a setting stand together. */
export const configSchema = z.strictObject({
  server: z.strictObject({
    host: text(
      '::',
      'Sets the address to listen on. `::` is every IPv6 and IPv4 address; without IPv6 on the machine, every IPv4 one.',
    ),
    port: integer(0, 65_535, 8080, 'Sets the port to listen on; 0 takes a free one.'),
    adminPort: optionalInteger(
      0,
      65_535,
      'Sets the port of a listener for operators: metrics, console, API description and admin routes; `server.port` then answers 404 for them. Probes are at both. 0 takes a free one. Unset: all routes are at `server.port`.',
    ),
    bodyLimitBytes: bytes(
      1024,
      2 ** 30,
      33_554_432,
      'Limits a request body, unpacked. Raising it lets one request take more memory.',
    ),
    maxPassages: integer(
      1,
      10_000,
      10_000,
      'Limits the passages of a request. Lowering it bounds the work that one request can cause.',
    ),
    requestTimeoutMs: integer(
      100,
      3_600_000,
      60_000,
      'Sets the deadline, in milliseconds, of a request that names none. Raising it lets slow requests finish that would get 504.',
    ),
    headerTimeoutMs: integer(
      100,
      600_000,
      15_000,
      'Limits the milliseconds a client may take to send headers and body. Raising it helps slow links, and slow attacks.',
    ),
    writeTimeoutMs: integer(
      100,
      3_600_000,
      30_000,
      'Limits the milliseconds in which a client takes no byte of its answer; the connection is then closed. The whole answer may take ten times as long.',
    ),
    inFlightBytes: bytes(
      1_048_576,
      2 ** 40,
      134_217_728,
      'Limits the memory for unpacked request bodies and answers of all requests together; beyond it requests get 429. An eighth is kept for bodies up to 64 KiB.',
    ),
    maxConnections: integer(
      0,
      1_000_000,
      0,
      'Limits the open connections; further ones are closed. 0 derives the number from the limit of open files, less a reserve.',
    ),
    drainMs: integer(
      0,
      600_000,
      30_000,
      'Sets the milliseconds that requests in flight may take after SIGTERM; the rest is cut off.',
    ),
    autoTruncate: toggleOr(
      'always',
      true,
      'Cuts pairs that are too long where a request does not say whether to; `false` refuses them, `always` cuts them also where a request forbids it (Weaviate sends `truncation: false` on its own).',
    ),
    keepAliveMs: integer(
      1000,
      86_400_000,
      65_000,
      'Sets the milliseconds for which a connection rests between two requests. It has to be longer than the idle time of the load balancer in front, which may otherwise send a request to a closed connection.',
    ),
    basePath: basePath(
      'Sets the prefix of paths under which a proxy publishes the service. Paths without it are served too, for probes.',
    ),
    trustedProxies: integer(
      0,
      16,
      0,
      'Sets how many proxies stand in front: their X-Forwarded-For names the client address, for the rate limit and for admin routes without keys. Too high a number lets clients choose their address.',
    ),
    hstsSeconds: integer(
      0,
      63_072_000,
      0,
      'Sets the seconds for which browsers may reach this host name by HTTPS only (`Strict-Transport-Security`); 0 sends no such header. It binds every service of that name.',
    ),
    corsOrigins: list(origin, 'origins, separated by commas', 'Lists the origins that browsers may call from.'),
    replicas: integer(
      1,
      100_000,
      1,
      'Declares how many processes serve these requests together; with an autoscaler, the most that it starts. Above 1 the server warns of what replicas cannot share, such as an experiment database in a SQLite file, and answers of admin routes name the process that followed.',
    ),
    hosts: list(
      hostName,
      'host names, separated by commas',
      'Lists the names with a dot that requests from loopback may have in Host (DNS rebinding). IP addresses and names without a dot need no entry. Needed behind a proxy or sidecar on the same machine that passes on such names.',
    ),
  }),
  auth: z.strictObject({
    keysFile: optionalText(
      'Names the YAML file of API keys (name, sha256 of the key, scopes). Without it every client may score, and scope admin is for clients on the same machine.',
      'file',
    ),
    requestsPerMinute: integer(
      0,
      10_000_000,
      0,
      'Limits the requests a minute of a key, or of an address without keys; 0 sets no limit. With keys it also limits the requests without a valid key of an address; a wrong key counts as 10.',
    ),
    passagesPerMinute: integer(
      0,
      1_000_000_000,
      0,
      'Limits the passages a minute of a key, or of an address without keys; 0 sets no limit. A request with more passages than the limit is always refused.',
    ),
  }),
  registry: registrySettings,
  inference: inferenceSettings,
  tokenization: z.strictObject({
    threads: integer(0, 64, 0, 'Sets the number of tokenizer threads; 0 derives it from the cores.'),
    cacheBytes: bytes(
      0,
      2 ** 40,
      67_108_864,
      'Limits the memory for token ids of passages seen before; 0 turns the cache off. Raising it helps where passages repeat.',
    ),
    maxQueryTokens: optionalInteger(
      1,
      1_048_576,
      'Limits the tokens of a query for every model, in addition to what `model.json` states; the rest is cut, and the answer says so.',
    ),
    truncation: choice(
      ['longest_first', 'only_second'],
      'longest_first',
      'Chooses the side that loses tokens when a pair is too long: the longer one, or always the passage.',
    ),
    longPassages: choice(
      ['truncate', 'max', 'mean'],
      'truncate',
      'Chooses what happens to passages that do not fit: cut them, or score overlapping windows and take the maximum or mean. Windows cost a row each.',
    ),
    windowOverlap: integer(
      0,
      4096,
      32,
      'Sets the tokens that neighboring windows share. Raising it makes more windows of a passage.',
    ),
  }),
  scheduling: z.strictObject({
    batchTokens: integer(
      16,
      2 ** 22,
      4096,
      'Limits the padded tokens of a batch. Raising it can raise throughput on a GPU and makes other requests wait longer.',
    ),
    batchRows: integer(1, 4096, 64, 'Limits the rows (query–passage pairs) of a batch.'),
    queueTokens: integer(
      16,
      2 ** 30,
      4_000_000,
      'Limits the tokens that wait; beyond it requests get 429 at once. Raising it takes memory.',
    ),
    maxWaitMs: integer(
      1,
      3_600_000,
      10_000,
      'Limits the predicted wait in milliseconds; a request that would wait longer gets 429 at once. Raising it trades refusals for latency.',
    ),
    agingMs: integer(
      1,
      3_600_000,
      2000,
      'Sets the milliseconds after which waiting work of the batch lane counts as interactive. Lowering it helps batch work at the cost of interactive requests.',
    ),
  }),
  scoreCache: z.strictObject({
    bytes: bytes(0, 2 ** 40, 0, 'Limits the memory for scores of pairs seen before; 0 turns the cache off.'),
  }),
  cache: cacheSettings,
  pruning: z.strictObject({
    recall: real(
      0,
      0.999,
      0,
      'Sets the part of the first top_n that has to stay where a request with top_n does not say it; 0: lists are not pruned. Raising it scores more passages.',
    ),
  }),
  experiments: z.strictObject({
    file: optionalText(
      'Names the file of experiments, experiments.yaml; changes take effect without a restart.',
      'file',
    ),
    database: secret(
      'Names the database of exposures and outcomes: a SQLite file or a postgres:// URL. Empty: runs/experiments.sqlite once an experiment is defined.',
    ),
    databaseTimeoutMs: integer(
      100,
      600_000,
      5000,
      'Sets the milliseconds in which a PostgreSQL server must accept a connection and answer a statement; reads of reports get 60 times that.',
    ),
    retentionDays: integer(1, 3650, 90, 'Sets the days that exposures and outcomes are kept.'),
    unitSecret: secret(
      'Sets the key of the hash under which unit ids and passage digests are stored. Empty: a random key, in a file beside a SQLite database (name + .key), in the database with PostgreSQL. A new key makes new units.',
    ),
    placeholderIds: list(
      z.string(),
      'ids, separated by commas',
      'Lists the user, session and unit ids that count as none, without regard to case. A request with one is treated as a request without that id, counted and reported.',
      PLACEHOLDER_IDS,
    ),
    flagProvider: optionalText(
      'Names a module whose default export is an OpenFeature provider. Its flags then decide the arms of split experiments.',
      'file',
    ),
    bufferRows: integer(
      1,
      10_000_000,
      100_000,
      'Limits the exposures that wait for the database; more are lost and counted. Raising it takes memory while the database is down.',
    ),
  }),
  telemetry: z.strictObject({
    logLevel: choice(
      ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
      'info',
      'Sets the lowest level of log lines that are written.',
    ),
    otlpEndpoint: optionalUrl('Names the OpenTelemetry collector (OTLP over HTTP) that gets traces. Unset: no export.'),
    traceRatio: real(0, 1, 1, 'Sets the share of requests that are traced, among those without a sampled parent.'),
  }),
});

export type Config = z.infer<typeof configSchema>;

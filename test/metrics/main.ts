import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { postgresPrograms, startPostgres } from '../support/postgres.ts';
import { exemplarCheck, formatCheck, queryChecks, ruleChecks, SERVICE_NAME, traceChecks } from './checks.ts';
import { startCollector } from './collector.ts';
import { drill } from './drill.ts';
import { startPrometheus } from './prometheus.ts';
import { alertNames, shortenedRules } from './rules.ts';
import { startLoad, startService } from './service.ts';
import { missingPrograms, pause, type Result } from './tools.ts';

const ROOT = join(import.meta.dirname, '../..');

const HELP = `Loads the shipped alerts and all queries of the dashboards into a real Prometheus that scrapes a real server.

  npm run test:metrics                    rules, queries under load, then a drill of faults; about 5 minutes on 2 idle cores
  npm run test:metrics -- --no-drill      without the faults; about a minute
  npm run test:metrics -- --json FILE     also writes the results

A query without data is a failure. In the drill, alerts of a real fault must fire and end; windows and waiting times of the rules are shortened for
it ([5m] becomes [20s], for: 5m becomes for: 3s), limits are the shipped ones.
Needed: Debian's prometheus (prometheus and promtool). The database's fault also needs postgresql.
`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    drill: { type: 'boolean', default: true },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

/** A server that refuses early and keeps few exposures, so that faults show within seconds. */
const SETTINGS = {
  WINNOW_SCHEDULING_MAX_WAIT_MS: '300',
  WINNOW_EXPERIMENTS_BUFFER_ROWS: '300',
  WINNOW_EXPERIMENTS_DATABASE_TIMEOUT_MS: '2000',
  WINNOW_SCORE_CACHE_BYTES: '10000000',
  WINNOW_INFERENCE_HOSTS: '2',
};

const results: Result[] = [];
function note(result: Result): void {
  results.push(result);
  process.stdout.write(`${result.passed ? 'ok    ' : 'FAILED'} ${result.claim}: ${result.seen}\n`);
}

async function main(): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'winnow-metrics-'));
  cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
  for (const result of ruleChecks(ROOT)) note(result);
  const programs = postgresPrograms();
  const database = programs ? await startPostgres(programs) : undefined;
  cleanup.defer(() => database?.stop());
  const collector = await startCollector();
  cleanup.defer(() => collector.stop());
  const service = await startService(ROOT, folder, database?.url ?? join(folder, 'experiments.sqlite'), {
    ...SETTINGS,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_SERVICE_NAME: SERVICE_NAME,
    OTEL_BSP_SCHEDULE_DELAY: '500',
  });
  cleanup.defer(() => service.stop());
  const prometheus = await startPrometheus(join(folder, 'prometheus'), service.target, shortenedRules(ROOT));
  cleanup.defer(() => prometheus.stop());
  const load = startLoad(service, { clients: 2, passages: 20, pauseMs: 20 });
  await pause(15_000);
  note(await formatCheck(service));
  for (const result of await queryChecks(ROOT, prometheus)) note(result);
  const exemplars = await prometheus.traces('winnow_request_duration_seconds_bucket');
  note(exemplarCheck(exemplars));
  await load.stop();
  // Spans are sent every half second.
  await pause(2000);
  for (const result of traceChecks(collector, exemplars)) note(result);
  process.stdout.write(`load: ${[...load.statuses].map(([status, count]) => `${count} × ${status}`).join(', ')}\n`);
  if (!values.drill) return;
  process.stdout.write('drill: ranges and waiting times of the rules are shortened, limits are the shipped ones\n');
  if (!database)
    process.stdout.write('left out: the fault of the experiment database, for which postgresql is missing\n');
  const fired = await drill({ service, prometheus, database }, note);
  const idle = alertNames(ROOT).filter((name) => !fired.includes(name));
  note({
    claim: 'every alert is part of the drill',
    seen: idle.join(', ') || 'all',
    passed: idle.length === 0 || !database,
  });
}

function finish(): void {
  if (values.json) writeFileSync(values.json, `${JSON.stringify(results, undefined, 2)}\n`);
  const failed = results.filter(({ passed }) => !passed).length;
  process.stdout.write(`${results.length - failed} passed, ${failed} failed\n`);
  if (failed > 0) process.exitCode = 1;
}

if (values.help) process.stdout.write(HELP);
else {
  const missing = missingPrograms();
  if (missing.length > 0) {
    process.stderr.write(
      `test:metrics: expected prometheus and promtool, got no ${missing.join(' and no ')}; apt-get install prometheus\n`,
    );
    process.exitCode = 2;
  } else {
    await main();
    finish();
  }
}

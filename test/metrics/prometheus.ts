import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, json, type Running, records, start, until } from './tools.ts';

/** One series of an answer. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Alert {
  readonly name: string;
  readonly state: string;
}

export interface Prometheus {
  query(expression: string): Promise<readonly Sample[]>;
  /** Returns the trace ids that samples of a metric name. */
  traces(metric: string): Promise<readonly string[]>;
  alerts(): Promise<readonly Alert[]>;
  stop(): Promise<void>;
}

const sampleOf = ({ metric, value }: Record<string, unknown>): Sample => ({
  metric: Object(metric),
  value: Number(Array.isArray(value) ? value[1] : Number.NaN),
});

function reader(url: string): Omit<Prometheus, 'stop'> {
  const get = async (path: string, parameters: Record<string, string> = {}) => {
    const { status, error, data } = await json(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    if (status !== 'success')
      throw new Error(`expected an answer of Prometheus, got ${error} (${JSON.stringify(parameters)})`);
    return data;
  };
  return {
    query: async (query) => records(Object(await get('query', { query })).result).map(sampleOf),
    async traces(metric) {
      const now = Date.now() / 1000;
      const found = records(await get('query_exemplars', { query: metric, start: `${now - 600}`, end: `${now}` }));
      return found.flatMap(({ exemplars }) => records(exemplars).map(({ labels }) => String(Object(labels).trace_id)));
    },
    alerts: async () =>
      records(Object(await get('alerts')).alerts).map(({ labels, state }) => ({
        name: String(Object(labels).alertname),
        state: String(state),
      })),
  };
}

/** Starts Prometheus with rules; it scrapes `target` (host:port) every second. */
export async function startPrometheus(folder: string, target: string, rules: string): Promise<Prometheus> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  writeFileSync(join(folder, 'rules.yaml'), rules);
  writeFileSync(
    join(folder, 'prometheus.yaml'),
    `global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [rules.yaml]
scrape_configs:
  - job_name: winnow
    static_configs: [{ targets: ["${target}"] }]
`,
  );
  const running: Running = start('prometheus', [
    `--config.file=${join(folder, 'prometheus.yaml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--enable-feature=exemplar-storage',
    '--log.level=warn',
  ]);
  const url = `http://127.0.0.1:${port}`;
  await until('Prometheus to be ready', async () => {
    if (running.process.exitCode !== null) throw new Error(`expected Prometheus to run, got ${running.log()}`);
    const ready = await fetch(`${url}/-/ready`).catch(() => undefined);
    return ready?.ok ? true : undefined;
  });
  return { ...reader(url), stop: () => running.stop() };
}

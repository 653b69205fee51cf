import { cpSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PostgresServer } from '../support/postgres.ts';
import type { Prometheus } from './prometheus.ts';
import { type Service, startLoad } from './service.ts';
import { pause, type Result, until } from './tools.ts';

interface Drill {
  readonly service: Service;
  readonly prometheus: Prometheus;
  /** The experiment database; absent where PostgreSQL is not installed. */
  readonly database: PostgresServer | undefined;
}

/** A fault: what is done, the alerts that must fire, and how it ends. */
interface Fault {
  readonly name: string;
  readonly alerts: readonly string[];
  /** Whether requests arrive meanwhile. */
  readonly isUnderLoad: boolean;
  begin(drill: Drill): Promise<void>;
  end(drill: Drill): Promise<void>;
}

const firing = async ({ prometheus }: Drill): Promise<readonly string[]> => {
  const alerts = await prometheus.alerts();
  return [...new Set(alerts.filter(({ state }) => state === 'firing').map(({ name }) => name))].toSorted();
};

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids)
    try {
      process.kill(pid, name);
    } catch {
      // It has ended by itself.
    }
}

/** Work that goes on until it is stopped. */
function repeat(work: () => Promise<void>): () => Promise<void> {
  let isOn = true;
  const done = (async () => {
    while (isOn) await work();
  })();
  return async () => {
    isOn = false;
    await done;
  };
}

let stop: () => Promise<void> = async () => {};
const stopRepeating = async () => stop();

const BROKEN = join('minilm-l6-hinge', '2');

const FAULTS: readonly Fault[] = [
  {
    name: 'inference hosts are killed again and again',
    alerts: ['WinnowHostsLost'],
    isUnderLoad: true,
    async begin({ service }) {
      stop = repeat(async () => {
        signal(service.hosts().slice(0, 1), 'SIGKILL');
        await pause(1500);
      });
    },
    end: stopRepeating,
  },
  {
    name: 'every inference host is killed whenever there is one',
    alerts: ['WinnowErrors', 'WinnowHostsLost'],
    isUnderLoad: true,
    async begin({ service }) {
      stop = repeat(async () => {
        signal(service.hosts(), 'SIGKILL');
        await pause(100);
      });
    },
    end: stopRepeating,
  },
  {
    name: 'inference hosts stand still for 1.5 s at a time',
    alerts: ['WinnowSlow'],
    isUnderLoad: true,
    async begin({ service }) {
      stop = repeat(async () => {
        const pids = service.hosts();
        signal(pids, 'SIGSTOP');
        await pause(1500);
        signal(pids, 'SIGCONT');
        await pause(500);
      });
    },
    end: stopRepeating,
  },
  {
    name: 'a version with a damaged file is published',
    alerts: ['WinnowModelRefused'],
    isUnderLoad: false,
    async begin({ service: { models, url } }) {
      const folder = join(models, '..', 'damaged');
      cpSync(join(models, 'minilm-l6-hinge', '1'), folder, { recursive: true });
      writeFileSync(join(folder, 'tokenizer.json'), '{}');
      // At once, as a version is published: a folder that is still being copied is another version in the eyes of the registry.
      renameSync(folder, join(models, BROKEN));
      await until('the damaged version to be refused', async () => {
        const response = await fetch(`${url}/rerank`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ model: 'minilm-l6-hinge@2', query: 'q', texts: ['a'] }),
        });
        await response.arrayBuffer();
        return response.status === 422 || undefined;
      });
    },
    async end({ service: { models } }) {
      renameSync(join(models, BROKEN), join(models, '..', 'refused'));
    },
  },
  {
    name: 'the files of the default model are moved away',
    alerts: ['WinnowNotReady'],
    isUnderLoad: false,
    async begin({ service: { models } }) {
      renameSync(join(models, 'minilm-l6-bce'), join(models, '..', 'away'));
    },
    async end({ service: { models } }) {
      renameSync(join(models, '..', 'away'), join(models, 'minilm-l6-bce'));
    },
  },
  {
    name: 'more requests arrive than can be answered',
    alerts: ['WinnowOverloaded'],
    isUnderLoad: false,
    async begin({ service }) {
      const load = startLoad(service, { clients: 40, passages: 100, pauseMs: 200 });
      stop = load.stop;
    },
    end: stopRepeating,
  },
  {
    name: 'the experiment database is gone',
    alerts: ['WinnowExperimentDatabaseFailing', 'WinnowExposuresLost'],
    isUnderLoad: true,
    begin: async ({ database }) => database?.kill(),
    end: async ({ database }) => database?.start(),
  },
];

async function run(drill: Drill, { name, alerts, isUnderLoad, begin, end }: Fault): Promise<Result> {
  const load = isUnderLoad ? startLoad(drill.service, { clients: 2, passages: 5, pauseMs: 50 }) : undefined;
  const seen = new Set<string>();
  let passed = true;
  await begin(drill);
  try {
    await until(alerts.join(' and '), async () => {
      for (const alert of await firing(drill)) seen.add(alert);
      return alerts.every((alert) => seen.has(alert)) || undefined;
    });
  } catch {
    passed = false;
  } finally {
    await end(drill);
    await load?.stop();
  }
  const isQuiet = await until('no alert', async () => ((await firing(drill)).length === 0 ? true : undefined)).catch(
    () => false,
  );
  const rest = isQuiet ? 'all end after it' : `${(await firing(drill)).join(', ')} after it still`;
  return {
    claim: `${name}: ${alerts.join(' and ')}`,
    seen: `${[...seen].join(', ') || 'no alert'}; ${rest}`,
    passed: passed && isQuiet,
  };
}

/** Watches a server without requests for a while, in which no alert may fire or be about to. */
async function idle({ prometheus }: Drill): Promise<Result> {
  // The ranges of the rules still hold the load before.
  await until('no alert', async () => ((await prometheus.alerts()).length === 0 ? true : undefined));
  const seen = new Set<string>();
  const end = performance.now() + 40_000;
  while (performance.now() < end) {
    for (const { name, state } of await prometheus.alerts()) seen.add(`${name} (${state})`);
    await pause(1000);
  }
  return {
    claim: 'no alert while nothing happens',
    seen: [...seen].join(', ') || 'none in 40 s',
    passed: seen.size === 0,
  };
}

/** Makes each fault in turn and reads the alerts of a real Prometheus. @param onResult is called after each. */
export async function drill(parts: Drill, onResult: (result: Result) => void): Promise<readonly string[]> {
  onResult(await idle(parts));
  const faults = FAULTS.filter(({ alerts }) => parts.database || !alerts.includes('WinnowExposuresLost'));
  for (const fault of faults) {
    onResult(await run(parts, fault));
    await until('the server to be ready again', async () => (await parts.service.isReady()) || undefined);
  }
  return faults.flatMap(({ alerts }) => alerts);
}

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Copy } from '../k8s/renderings.ts';
import { registration, serveCustomMetrics } from './custom-metrics.ts';
import type { Result } from './tools.ts';
import { type Answers, startWinnow, type WinnowUnderLoad } from './winnow-under-load.ts';

/*
 * The real HorizontalPodAutoscaler controller scales the shipped Deployment by the metric of a real server under load. There is no kubelet, so
 * pods are marked as running here. The one server carries the load of the whole service: each pod shows the n-th part of its demand, as pods
 * would that share the requests.
 */

/** Runs kubectl with an input, and returns what it printed. */
type Kubectl = (args: readonly string[], input?: string) => Promise<string>;

/** Calls kubectl without blocking this process, which serves metrics and sends requests meanwhile. */
const kubectlOf =
  (kubeconfig: string): Kubectl =>
  (args, input = '') => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const options = { env: { ...process.env, KUBECONFIG: kubeconfig }, maxBuffer: 64e6, timeout: 120_000 };
    const child = execFile('kubectl', [...args], options, (error, stdout, stderr) =>
      error ? reject(new Error(`kubectl ${args.join(' ')}: ${stderr.trim() || error.message}`)) : resolve(stdout),
    );
    child.stdin?.end(input);
    return promise;
  };

const NAMESPACE = 'winnow-autoscaling';
const SELECTOR = 'app.kubernetes.io/name=winnow';
/** A Deployment with the autoscaler that Winnow had before: by the queue. */
const BY_QUEUE = 'winnow-by-queue';

/** Long lists, and clients that wait little longer than one of them takes: a queue cannot become long, however fast the machine is. */
const LOAD = { passages: 160, deadlineMs: 1200 };
/** Pods at first, by the component, and pods that a load of which most is refused needs at least. */
const LEAST = 2;
const ENOUGH = 4;
/** Answers from which the share of refused ones is read. */
const ENOUGH_REQUESTS = 40;

const NO_PRIVILEGES = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };

const byQueue = [
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: BY_QUEUE },
    spec: {
      replicas: 4,
      selector: { matchLabels: { app: BY_QUEUE } },
      template: {
        metadata: { labels: { app: BY_QUEUE } },
        spec: {
          securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [{ name: 'winnow', image: 'winnow:cpu', securityContext: NO_PRIVILEGES }],
        },
      },
    },
  },
  {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: BY_QUEUE },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: BY_QUEUE },
      minReplicas: 2,
      maxReplicas: 10,
      metrics: [
        {
          type: 'Pods',
          pods: { metric: { name: 'winnow_queue_jobs' }, target: { type: 'AverageValue', averageValue: '4' } },
        },
      ],
      behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
    },
  },
];

/** How often the cluster is looked at. Each look costs processor time that the server under load shares. */
const LOOK_MS = 3000;

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: { readonly phase: string };
  }[];
}

class Namespace {
  readonly kubectl: Kubectl;

  constructor(kubectl: Kubectl) {
    this.kubectl = (args, input) => kubectl(['-n', NAMESPACE, ...args], input);
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await this.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(list));
  }

  /** Marks pods as running and ready, as a kubelet would. Returns the names of all. */
  async run(selector: string): Promise<string[]> {
    const list: PodList = JSON.parse(await this.kubectl(['get', 'pods', '-l', selector, '-o', 'json']));
    const pods = list.items.filter(({ metadata }) => !metadata.deletionTimestamp);
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    const patch = ['--subresource=status', '--type=merge', '-p', JSON.stringify({ status })];
    for (const { metadata } of pods.filter((pod) => pod.status.phase !== 'Running'))
      await this.kubectl(['patch', 'pod', metadata.name, ...patch]);
    return pods.map(({ metadata }) => metadata.name);
  }

  async replicas(deployment: string): Promise<number> {
    return Number(await this.kubectl(['get', 'deployment', deployment, '-o', 'jsonpath={.spec.replicas}']));
  }

  /** Runs pods until the deployment has as many replicas as wanted, for at most `seconds`. Returns all numbers seen, in order. */
  async until(
    deployment: string,
    selector: string,
    wanted: (replicas: number) => boolean,
    seconds: number,
  ): Promise<number[]> {
    const seen: number[] = [];
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(LOOK_MS)) {
      await this.run(selector);
      const now = await this.replicas(deployment);
      if (now !== seen.at(-1)) seen.push(now);
      if (wanted(now)) break;
    }
    return seen;
  }
}

const count = (answers: Answers): { readonly all: number; readonly answered: number } => ({
  all: [...answers.values()].reduce((sum, one) => sum + one, 0),
  answered: answers.get(200) ?? 0,
});

/** Keeps the load at three to five times what the server answers, whatever else this machine does. */
async function steer(load: { perSecond: number }, answers: Answers, signal: AbortSignal): Promise<void> {
  for (let before = count(answers); !signal.aborted; ) {
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
    const now = count(answers);
    const share = (now.answered - before.answered) / Math.max(1, now.all - before.all);
    if (share > 1 / 3) load.perSecond = Math.min(60, load.perSecond * 1.5);
    if (share < 1 / 5) load.perSecond *= 0.8;
    before = now;
  }
}

const show = (value: number) => value.toFixed(2);

async function scaleUp(namespace: Namespace, server: WinnowUnderLoad): Promise<Result[]> {
  const stop = new AbortController();
  const load = { ...LOAD, perSecond: 8 };
  const { answers, ended } = server.load(load, stop.signal);
  const steering = steer(load, answers, stop.signal);
  try {
    // The queue's autoscaler begins under load: without any it would scale down at once, whatever it sees later.
    for (const end = Date.now() + 60_000; Date.now() < end; await sleep(LOOK_MS)) {
      const { all, answered } = count(answers);
      if (all >= ENOUGH_REQUESTS && answered < all / 2) break;
    }
    await namespace.apply(...byQueue);
    const [queue, up] = await Promise.all([
      namespace.until(BY_QUEUE, `app=${BY_QUEUE}`, (replicas) => replicas === LEAST, 150),
      namespace.until('winnow', SELECTOR, (replicas) => replicas >= ENOUGH, 150),
    ]);
    const [demand, jobs] = [await server.metric('winnow_demand_ratio'), await server.metric('winnow_queue_jobs')];
    const { all, answered } = count(answers);
    const refused = [...answers].filter(([status]) => status !== 200).map(([status, some]) => `${some} × ${status}`);
    return [
      {
        claim: 'most of the load is refused',
        seen: `${answered} of ${all} answered, ${refused.join(', ')}`,
        passed: answered < all / 2,
      },
      {
        claim: 'refused load scales up',
        seen: `winnow_demand_ratio ${show(demand)}, replicas ${up.join(' → ')}`,
        passed: (up.at(-1) ?? 0) >= ENOUGH,
      },
      {
        claim: 'the length of the queue scales down under the same load',
        seen: `winnow_queue_jobs ${jobs}, replicas ${queue.join(' → ')}`,
        passed: (queue.at(-1) ?? 0) < (queue[0] ?? 0),
      },
    ];
  } finally {
    stop.abort();
    await Promise.all([ended, steering]);
  }
}

async function scaleDown(namespace: Namespace, server: WinnowUnderLoad): Promise<Result> {
  // The shipped ten minutes, shortened.
  const behavior = {
    scaleDown: { stabilizationWindowSeconds: 0, policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }] },
  };
  await namespace.kubectl(['patch', 'hpa', 'winnow', '--type=merge', '-p', JSON.stringify({ spec: { behavior } })]);
  const down = await namespace.until('winnow', SELECTOR, (replicas) => replicas === LEAST, 150);
  const demand = await server.metric('winnow_demand_ratio');
  const seen = `winnow_demand_ratio ${show(demand)}, replicas ${down.join(' → ')}`;
  return { claim: 'idle scales down to the minimum', seen, passed: down.at(-1) === LEAST };
}

/**
 * Shows that the shipped autoscaler sees demand: refused load scales up where the queue would not, an idle service scales down.
 * @param copy renders `overlays/cpu` with `components/autoscaling`.
 */
export async function checkAutoscaling(
  kubeconfig: string,
  copy: Copy,
  report: (result: Result) => void,
): Promise<void> {
  const kubectl = kubectlOf(kubeconfig);
  await kubectl(['create', 'namespace', NAMESPACE]);
  await kubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted']);
  const namespace = new Namespace(kubectl);
  const rendering = { name: 'autoscaling', folder: 'overlays/cpu', components: ['components/autoscaling'] };
  await namespace.kubectl(['apply', '--server-side', '-f', '-'], copy.render(rendering));
  const server = await startWinnow();
  const read = async (metric: string, selector: string) => {
    const pods = await namespace.run(selector);
    const value = await server.metric(metric);
    // Demand is divided among pods; a queue is as long in each of them.
    const share = metric === 'winnow_demand_ratio' ? value / pods.length : value;
    return new Map(pods.map((pod) => [pod, share]));
  };
  const api = await serveCustomMetrics(['winnow_demand_ratio', 'winnow_queue_jobs'], read);
  try {
    await namespace.apply(...registration(api.port, NAMESPACE));
    await namespace.until('winnow', SELECTOR, (replicas) => replicas === LEAST, 60);
    for (const result of await scaleUp(namespace, server)) report(result);
    report(await scaleDown(namespace, server));
  } finally {
    await kubectl(['delete', 'apiservice', 'v1beta2.custom.metrics.k8s.io', '--ignore-not-found']);
    await api.close();
    await server.close();
  }
}

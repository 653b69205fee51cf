import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findHelm } from '../k8s/helm.ts';
import { allRenderings, type Copy, copyManifests, manifestsOf, type Rendering } from '../k8s/renderings.ts';
import { applied } from './apply.ts';
import { checkAutoscaling } from './autoscaling.ts';
import { checkChart } from './chart.ts';
import { asDocumented, changes, negativeControls, selected } from './checks.ts';
import { type Cluster, clusterOf, startCluster } from './cluster.ts';
import { groupsOf, installKinds } from './kinds.ts';
import { isThere, type Result } from './tools.ts';

const ROOT = join(import.meta.dirname, '../..');
const K8S = join(ROOT, 'k8s');

const HELP = `Applies every overlay, component and job folder of k8s/ to a real Kubernetes API server with Pod Security "restricted" and real
controllers, and checks that each pod is admitted.

  npm run test:cluster                        starts a server by ../shared/k8s-server; about 2 minutes on 2 idle cores
  npm run test:cluster -- --server FOLDER     by the scripts build.sh, start.sh and stop.sh of that folder
  npm run test:cluster -- --kubeconfig FILE   on a cluster that is there, one to throw away: namespaces and kinds are made and left
  npm run test:cluster -- --only autoscaling  the autoscaler alone, in 4 minutes; \`manifests\`: all but that
  npm run test:cluster -- --json FILE         also writes the results

The autoscaler is checked where the server is this command's own: pods are marked as running, which a kubelet would do.

Needed: kubectl; without --kubeconfig also Debian's etcd-server, openssl, curl and Go 1.25, which builds the server once (minutes) into
~/.cache/k8s-server; K8S_PORT and ETCD_PORT name its ports. KEDA's kinds come from its Go module. The chart is
installed where Helm 3 is (HELM names one, or ~/.cache/winnow-helm/helm).
`;

const { values } = parseArgs({
  options: {
    server: { type: 'string', default: join(ROOT, '../shared/k8s-server') },
    kubeconfig: { type: 'string' },
    json: { type: 'string' },
    only: { type: 'string', default: '' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

interface Case {
  readonly rendering: Rendering;
  readonly text: string;
  /** API groups of its objects. */
  readonly groups: readonly string[];
}

/** Returns what is missing on this machine, as sentences. */
function missing(): string[] {
  const programs = values.kubeconfig ? ['kubectl'] : ['kubectl', 'etcd', 'openssl', 'curl'];
  const absent = programs.filter((program) => !isThere(program)).map((program) => `the program ${program}`);
  const file = join(resolve(values.server), 'start.sh');
  return values.kubeconfig || existsSync(file) ? absent : [...absent, `${file} (--server FOLDER names another)`];
}

function print({ claim, seen, passed }: Result): void {
  const verdict = passed === undefined ? 'left out' : passed ? 'ok      ' : 'FAILED  ';
  process.stdout.write(`${verdict} ${claim}: ${seen}\n`);
}

function casesOf(copy: Copy): Case[] {
  return allRenderings(K8S).map((rendering) => {
    const text = copy.render(rendering);
    const groups = manifestsOf(text).map(({ apiVersion }) => String(apiVersion).split('/')[0]!);
    return { rendering, text, groups };
  });
}

async function check(cluster: Cluster, copy: Copy, report: (result: Result) => void): Promise<void> {
  const cases = casesOf(copy);
  const cpu = cases.find(({ rendering }) => rendering.name === 'overlays/cpu')!;
  report(await asDocumented(cluster, join(K8S, cpu.rendering.folder), cpu.text));
  for (const control of negativeControls(cluster, cpu.text)) report(await control);
  if (!values.kubeconfig) for (const result of await selected(cluster, 'winnow-documented')) report(result);
  for (const result of await changes(cluster, 'winnow-documented', join(K8S, cpu.rendering.folder), copy))
    report(result);
  report(await checkChart(cluster, findHelm()));
  const bare = groupsOf(cluster);
  const applyAll = async (some: readonly Case[], known: ReadonlySet<string>) => {
    for (const [i, { rendering, text, groups }] of some.entries()) {
      const stranger = groups.find((group) => !known.has(group));
      const seen = `the server has no kinds of ${stranger}`;
      if (stranger) report({ claim: rendering.name, seen, passed: undefined });
      else report(await applied(cluster, rendering.name, `winnow-${known === bare ? 'bare' : 'kinds'}-${i}`, text));
    }
  };
  const isBuiltIn = ({ groups }: Case) => groups.every((group) => bare.has(group));
  await applyAll(cases.filter(isBuiltIn), bare);
  for (const result of installKinds(cluster, resolve(values.server))) report(result);
  await applyAll(
    cases.filter((one) => !isBuiltIn(one)),
    groupsOf(cluster),
  );
}

async function main(): Promise<void> {
  if (!['', 'manifests', 'autoscaling'].includes(values.only))
    throw new Error(`expected --only to be manifests or autoscaling, got ${values.only}`);
  const needed = missing();
  if (needed.length > 0) {
    process.stderr.write(`test:cluster: not run. Expected ${needed.join(', ')}, got none; --help says more.\n`);
    process.exitCode = 2;
    return;
  }
  const copy = copyManifests(K8S);
  const results: Result[] = [];
  const report = (result: Result) => {
    results.push(result);
    print(result);
  };
  const cluster = values.kubeconfig
    ? clusterOf(resolve(values.kubeconfig))
    : await startCluster(resolve(values.server));
  const interrupted = async () => {
    await cluster.stop();
    copy.remove();
    process.exit(130);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    if (values.only !== 'autoscaling') await check(cluster, copy, report);
    if (values.only !== 'manifests' && !values.kubeconfig) await checkAutoscaling(cluster.kubeconfig, copy, report);
  } finally {
    await cluster.stop();
    copy.remove();
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify(results, undefined, 2)}\n`);
  const count = (verdict: boolean | undefined) => results.filter(({ passed }) => passed === verdict).length;
  const skipped = count(undefined) > 0 ? `, ${count(undefined)} skipped` : '';
  process.stdout.write(`${count(true)} passed, ${count(false)} failed${skipped}\n`);
  if (count(false) > 0) process.exitCode = 1;
}

if (values.help) process.stdout.write(HELP);
else await main();

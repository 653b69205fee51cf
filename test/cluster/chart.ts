import { join } from 'node:path';
import { manifestsOf } from '../k8s/renderings.ts';
import { podsMade, restrictedNamespace } from './apply.ts';
import type { Cluster } from './cluster.ts';
import { firstLine, type Result, run } from './tools.ts';

const CHART = join(import.meta.dirname, '../../charts/winnow');
const NAMESPACE = 'winnow-chart';
const CLAIM = 'helm install charts/winnow, upgraded with an autoscaler, uninstalled';

/** Installs the chart under restricted Pod Security, upgrades it and removes it. */
export async function checkChart(cluster: Cluster, helm: string | undefined): Promise<Result> {
  if (helm === undefined) return { claim: CLAIM, seen: 'left out: no helm on this machine', passed: undefined };
  const call = (...args: readonly string[]) =>
    run(helm, [...args, '--namespace', NAMESPACE], { env: { ...process.env, KUBECONFIG: cluster.kubeconfig } }).stdout;
  try {
    await restrictedNamespace(cluster, NAMESPACE);
    call('install', 'winnow', CHART);
    const pods = await podsMade(cluster, NAMESPACE, manifestsOf(call('get', 'manifest', 'winnow')));
    call('upgrade', 'winnow', CHART, '--set', 'autoscaling.enabled=true,settings.WINNOW_SCHEDULING_MAX_WAIT_MS=2000');
    const { stdout } = cluster.kubectl(['-n', NAMESPACE, 'get', 'hpa', 'winnow', '-o', 'jsonpath={.spec.maxReplicas}']);
    call('uninstall', 'winnow');
    return { claim: CLAIM, seen: `${pods} pod, then at most ${stdout}`, passed: stdout === '10' };
  } catch (error) {
    return { claim: CLAIM, seen: firstLine(error), passed: false };
  }
}

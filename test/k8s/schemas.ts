import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import { Job } from 'kubernetes-models/batch/v1/Job';
import { Ingress } from 'kubernetes-models/networking.k8s.io/v1/Ingress';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { PersistentVolumeClaim } from 'kubernetes-models/v1/PersistentVolumeClaim';
import { Service } from 'kubernetes-models/v1/Service';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import type { Manifest } from './kustomize.ts';

type Model = new (data: never) => { validate(): void };

/** kind → class with the schema of the Kubernetes API, and the module its type is in. */
const MODELS: Readonly<Record<string, readonly [Model, string]>> = {
  ConfigMap: [ConfigMap, 'kubernetes-models/v1/ConfigMap'],
  Deployment: [Deployment, 'kubernetes-models/apps/v1/Deployment'],
  HorizontalPodAutoscaler: [HorizontalPodAutoscaler, 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler'],
  Ingress: [Ingress, 'kubernetes-models/networking.k8s.io/v1/Ingress'],
  Job: [Job, 'kubernetes-models/batch/v1/Job'],
  NetworkPolicy: [NetworkPolicy, 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy'],
  PersistentVolumeClaim: [PersistentVolumeClaim, 'kubernetes-models/v1/PersistentVolumeClaim'],
  PodDisruptionBudget: [PodDisruptionBudget, 'kubernetes-models/policy/v1/PodDisruptionBudget'],
  PrometheusRule: [PrometheusRule, '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'],
  Service: [Service, 'kubernetes-models/v1/Service'],
  ServiceAccount: [ServiceAccount, 'kubernetes-models/v1/ServiceAccount'],
  ServiceMonitor: [ServiceMonitor, '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor'],
};

/** Whether a schema of the kind is at hand. The others meet theirs in a cluster (`npm run test:cluster`). */
export const hasSchema = ({ kind }: Manifest): boolean => Object.hasOwn(MODELS, kind);

/** Checks values and required fields against the schema of its kind. @throws Error with every fault. */
export function checkValues(manifest: Manifest): void {
  const entry = MODELS[manifest.kind];
  if (!entry) throw new Error(`${manifest.kind}: no schema is known`);
  new entry[0](manifest as never).validate();
}

/**
 * Field names the API does not know: the schemas let them pass, the compiler does not when a literal meets the type of its kind.
 * @returns the compiler's errors.
 */
export async function unknownFields(manifests: readonly Manifest[]): Promise<string[]> {
  const folder = mkdtempSync(join(import.meta.dirname, '.typed-'));
  try {
    const lines = manifests.flatMap((manifest, i) => [
      `import type { I${manifest.kind} as T${i} } from '${MODELS[manifest.kind]?.[1]}';`,
      `export const m${i}: T${i} = ${JSON.stringify(manifest, null, 1)};`,
    ]);
    writeFileSync(join(folder, 'manifests.ts'), lines.join('\n'));
    const compiler = join(import.meta.dirname, '../../node_modules/typescript/bin/tsc');
    const flags = [
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--ignoreConfig',
    ];
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [compiler, ...flags, 'manifests.ts'], { cwd: folder }).catch(
      (failure: { stdout: string }) => failure,
    );
    return stdout.split('\n').filter((line) => line.includes('error'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

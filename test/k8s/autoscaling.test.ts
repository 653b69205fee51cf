import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { METRICS } from '../../src/telemetry/metrics.ts';

const COMPONENTS = join(import.meta.dirname, '../../k8s/components');
const read = (component: string, file: string) => parse(readFileSync(join(COMPONENTS, component, file), 'utf8'));

const hpa = read('autoscaling', 'horizontalpodautoscaler.yaml').spec;
const scaledObject = read('autoscaling-keda', 'scaledobject.yaml').spec;
const [rule] = read('autoscaling', 'prometheus-adapter.yaml').rules.custom;
const trigger = scaledObject.triggers[0].metadata;

describe('autoscaling', () => {
  it('follows the demand, by either autoscaler with the same target and limits', () => {
    expect(hpa.metrics).toEqual([
      {
        type: 'Pods',
        pods: { metric: { name: METRICS.demand.name }, target: { type: 'AverageValue', averageValue: '750m' } },
      },
    ]);
    expect(Number(trigger.threshold)).toBe(0.75);
    expect(trigger.query).toMatch(new RegExp(`^sum\\(${METRICS.demand.name}\\{`));
    expect(scaledObject.triggers[0].metricType).toBe('AverageValue');
    expect([scaledObject.minReplicaCount, scaledObject.maxReplicaCount]).toEqual([hpa.minReplicas, hpa.maxReplicas]);
    expect(scaledObject.advanced.horizontalPodAutoscalerConfig.behavior).toEqual(hpa.behavior);
    expect(scaledObject.scaleTargetRef.name).toBe(hpa.scaleTargetRef.name);
  });

  it('declares to the server how many pods there may be', () => {
    for (const component of ['autoscaling', 'autoscaling-keda']) {
      const [settings] = read(component, 'kustomization.yaml').configMapGenerator;
      expect(settings.literals).toEqual([`WINNOW_SERVER_REPLICAS=${hpa.maxReplicas}`]);
    }
  });

  it('gets from the adapter, under its name, the metric of one pod', () => {
    expect(METRICS.demand.name).toMatch(new RegExp(rule.name.matches));
    expect(rule.name.as).toBe(hpa.metrics[0].pods.metric.name);
    expect(rule.seriesQuery.startsWith(`${METRICS.demand.name}{`)).toBe(true);
    expect(Object.keys(rule.resources.overrides)).toEqual(['namespace', 'pod']);
  });
});

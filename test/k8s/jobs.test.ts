import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { command } from '../../src/cli/eval.ts';
import { parseShard } from '../../src/util/shard.ts';
import type { Manifest } from './kustomize.ts';
import { checkValues, unknownFields } from './schemas.ts';

interface JobSpec {
  readonly completionMode: string;
  readonly completions: number;
  readonly parallelism: number;
  readonly template: {
    readonly spec: {
      readonly restartPolicy: string;
      readonly securityContext: Record<string, unknown>;
      readonly volumes: readonly { readonly name: string }[];
      readonly containers: readonly {
        readonly args: readonly string[];
        readonly env: readonly { readonly name: string }[];
        readonly securityContext: Record<string, unknown>;
        readonly volumeMounts: readonly { readonly name: string }[];
      }[];
    };
  };
}

const manifest: Manifest = parse(readFileSync(join(import.meta.dirname, '../../k8s/jobs/eval/job.yaml'), 'utf8'));
const job = manifest.spec as JobSpec;
const pod = job.template.spec;
const container = pod.containers[0]!;

describe('the evaluation job', () => {
  it('is valid by its schema and has no field the API does not know', async () => {
    checkValues(manifest);
    expect(await unknownFields([manifest])).toEqual([]);
  });

  it('runs every part of the suite once', () => {
    const shards = Array.from({ length: job.completions }, (_, index) =>
      container.args.at(-1)!.replace('$(JOB_COMPLETION_INDEX)', String(index)),
    ).map(parseShard);
    expect(job.completionMode).toBe('Indexed');
    expect(shards.map(({ index }) => index)).toEqual(shards.map((_, index) => index));
    expect(shards.every(({ of }) => of === job.completions)).toBe(true);
    expect(container.env.map(({ name }) => name)).toContain('JOB_COMPLETION_INDEX');
  });

  it('gives options that `winnow eval` has', () => {
    const known = command().options.map(({ long }) => long);
    for (const arg of container.args.filter((a) => a.startsWith('--'))) expect(known).toContain(arg);
    expect(container.args[0]).toBe('eval');
  });

  it('meets the restricted Pod Security Standard and mounts what it has', () => {
    expect(pod.restartPolicy).toBe('Never');
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(container.volumeMounts.map(({ name }) => name).toSorted()).toEqual(
      pod.volumes.map(({ name }) => name).toSorted(),
    );
  });
});

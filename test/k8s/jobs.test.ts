import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { command as evalCommand } from '../../src/cli/eval.ts';
import { command as gridCommand } from '../../src/cli/grid.ts';
import { command as scoreCommand } from '../../src/cli/score.ts';
import { parseShard } from '../../src/util/shard.ts';
import type { Manifest } from './kustomize.ts';
import { checkValues, unknownFields } from './schemas.ts';

interface JobSpec {
  readonly podFailurePolicy: { readonly rules: readonly { readonly action: string }[] };
  readonly completionMode: string;
  readonly completions: number;
  readonly parallelism: number;
  readonly template: {
    readonly spec: {
      readonly restartPolicy: string;
      readonly securityContext: Record<string, unknown>;
      readonly volumes: readonly { readonly name: string }[];
      readonly containers: readonly {
        readonly name: string;
        readonly args: readonly string[];
        readonly env: readonly { readonly name: string }[];
        readonly securityContext: Record<string, unknown>;
        readonly volumeMounts: readonly { readonly name: string }[];
      }[];
    };
  };
}

const FOLDER = join(import.meta.dirname, '../../k8s/jobs');
const COMMANDS = {
  eval: { verb: 'eval', command: evalCommand },
  'train-grid': { verb: 'grid', command: gridCommand },
  score: { verb: 'score', command: scoreCommand },
};
const CASES = Object.entries(COMMANDS).map(([name, { verb, command }]) => {
  const manifest: Manifest = parse(readFileSync(join(FOLDER, name, 'job.yaml'), 'utf8'));
  return { name, verb, command: command(), manifest };
});

it('every job has its command', () => {
  expect(CASES.map(({ name }) => name).toSorted()).toEqual(readdirSync(FOLDER).toSorted());
});

describe.each(CASES)('the job $name', ({ verb, command, manifest }) => {
  const job = manifest.spec as JobSpec;
  const pod = job.template.spec;
  const container = pod.containers[0]!;

  it('is valid by its schema and has no field the API does not know', async () => {
    checkValues(manifest);
    expect(await unknownFields([manifest])).toEqual([]);
  });

  it('runs every part once', () => {
    const shard = container.args[container.args.indexOf('--shard') + 1]!;
    const shards = Array.from({ length: job.completions }, (_, index) =>
      shard.replace('$(JOB_COMPLETION_INDEX)', String(index)),
    ).map(parseShard);
    expect(job.completionMode).toBe('Indexed');
    expect(shards.map(({ index }) => index)).toEqual(shards.map((_, index) => index));
    expect(shards.every(({ of }) => of === job.completions)).toBe(true);
    expect(container.env.map(({ name }) => name)).toContain('JOB_COMPLETION_INDEX');
  });

  it('gives options that the command has', () => {
    const known = command.options.map(({ long }) => long);
    for (const arg of container.args.filter((a) => a.startsWith('--'))) expect(known).toContain(arg);
    expect(container.args[0]).toBe(verb);
  });

  it('is not ended by a drained node, and ended at once by wrong input', () => {
    expect(job.podFailurePolicy.rules).toMatchObject([
      { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget' }] },
      { action: 'FailJob', onExitCodes: { containerName: container.name, operator: 'In', values: [2] } },
    ]);
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

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { firstLine, isThere, type Result, run } from './tools.ts';

const KEDA = 'github.com/kedacore/keda/v2@v2.18.1';

/** Returns the folder with KEDA's definitions, from the Go module of that name. */
function kedaFolder(): string {
  const { stdout } = run('go', ['mod', 'download', '-json', KEDA], {
    timeoutMs: 600_000,
    env: { ...process.env, GO111MODULE: 'on', GOFLAGS: '-mod=mod' },
  });
  return join(JSON.parse(stdout).Dir, 'config/crd/bases');
}

function install(cluster: Cluster, claim: string, folder: string): Result {
  const files = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  for (const file of files) cluster.kubectl(['apply', '--server-side', '-f', join(folder, file)]);
  cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
  return { claim, seen: `${files.length} kinds`, passed: true };
}

/** Installs the kinds of the Prometheus Operator and of KEDA. What cannot be had is a result without verdict. */
export function installKinds(cluster: Cluster, scripts: string): Result[] {
  const sources: [string, () => string | undefined][] = [
    ['kinds of the Prometheus Operator', () => (existsSync(join(scripts, 'crds')) ? join(scripts, 'crds') : undefined)],
    ['kinds of KEDA', () => (isThere('go') ? kedaFolder() : undefined)],
  ];
  return sources.map(([claim, find]) => {
    try {
      const folder = find();
      if (!folder) return { claim, seen: 'no source of them here', passed: undefined };
      return install(cluster, claim, folder);
    } catch (error) {
      return { claim, seen: firstLine(error), passed: undefined };
    }
  });
}

/** Returns the API groups that a cluster has. */
export function groupsOf(cluster: Cluster): Set<string> {
  const { stdout } = cluster.kubectl(['api-versions']);
  return new Set(
    stdout
      .trim()
      .split('\n')
      .map((version) => version.split('/')[0]!),
  );
}

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load-config.ts';
import { warnOfReplicas } from '../../src/main/replicas.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { SPLIT } from '../experiments/lab.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-replicas-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The warnings of a start with these variables. */
function warnings(env: Readonly<Record<string, string>>): string[] {
  const lines: string[] = [];
  warnOfReplicas(loadConfig([], env), createLogger('info', { write: (line: string) => void lines.push(line) }));
  return lines.map((line) => JSON.parse(line).msg);
}

describe('several replicas', () => {
  it('are warned of an experiment database that each has for itself', () => {
    const [warning] = warnings({ WINNOW_SERVER_REPLICAS: '2' });
    expect(warning).toContain(
      'which 2 replicas (server.replicas) can share, got the SQLite file runs/experiments.sqlite',
    );
    const file = warnings({ WINNOW_SERVER_REPLICAS: '10', WINNOW_EXPERIMENTS_DATABASE: '/data/e.sqlite' });
    expect(file[0]).toContain('got the SQLite file /data/e.sqlite');
  });

  it('are warned of limits that each counts for itself', () => {
    const shared = { WINNOW_SERVER_REPLICAS: '3', WINNOW_EXPERIMENTS_DATABASE: 'postgres://db/winnow' };
    const limits = { WINNOW_AUTH_REQUESTS_PER_MINUTE: '600', WINNOW_AUTH_PASSAGES_PER_MINUTE: '5000' };
    expect(warnings({ ...shared, ...limits })).toEqual([
      expect.stringContaining(
        'auth.requestsPerMinute holds in each of 3 replicas: a client may get up to 1800 a minute',
      ),
      expect.stringContaining(
        'auth.passagesPerMinute holds in each of 3 replicas: a client may get up to 15000 a minute',
      ),
    ]);
    expect(warnings(limits)).toEqual([]);
  });

  it('are not where they share a database, nor is a single process', () => {
    const shared = { WINNOW_EXPERIMENTS_DATABASE: 'postgres://w:secret@db/winnow' };
    expect(warnings({ WINNOW_SERVER_REPLICAS: '10', ...shared })).toEqual([]);
    expect(warnings({ WINNOW_EXPERIMENTS_DATABASE: '/data/e.sqlite' })).toEqual([]);
  });

  it('with SQLite are refused by `experiments validate`, which the flag overrides', async () => {
    const file = join(folder, 'experiments.yaml');
    writeFileSync(file, stringify({ experiments: [{ name: 'trial', ...SPLIT }] }));
    const winnow = join(import.meta.dirname, '../../bin/winnow.mjs');
    const validate = (...flags: readonly string[]) =>
      promisify(execFile)(process.execPath, [winnow, 'experiments', 'validate', file, ...flags], {
        env: { ...process.env, WINNOW_SERVER_REPLICAS: '3' },
      }).then(
        () => ({ code: 0, stderr: '' }),
        ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
      );
    const [refused, alone] = await Promise.all([validate(), validate('--replicas', '1')]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('which 3 replicas (server.replicas) can share, got the SQLite file');
    expect(refused.stderr).not.toContain('secret');
    expect(alone).toEqual({ code: 0, stderr: '' });
  });
});

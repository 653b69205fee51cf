import { describe, expect, it } from 'vitest';
import { hostEnvironment } from '../../src/inference/host-environment.ts';

describe('environment of hosts', () => {
  it('holds what processes, libraries and graphics cards need, and no settings or secrets', () => {
    const from = {
      PATH: '/bin',
      HOME: '/home/w',
      LC_ALL: 'C',
      CUDA_VISIBLE_DEVICES: '1',
      LD_LIBRARY_PATH: '/lib',
      VK_ICD_FILENAMES: 'icd.json',
      NODE_OPTIONS: '--max-old-space-size=100',
      WINNOW_EXPERIMENTS_DATABASE: 'postgres://u:secret@db',
      WINNOW_EXPERIMENTS_UNIT_SECRET: 'secret',
      HF_TOKEN: 'secret',
      AWS_SECRET_ACCESS_KEY: 'secret',
      PGPASSWORD: 'secret',
    };
    const env = hostEnvironment(from, { OMP_NUM_THREADS: '2' });
    expect(Object.keys(env).toSorted()).toEqual([
      'CUDA_VISIBLE_DEVICES',
      'HOME',
      'LC_ALL',
      'LD_LIBRARY_PATH',
      'NODE_OPTIONS',
      'OMP_NUM_THREADS',
      'PATH',
      'VK_ICD_FILENAMES',
    ]);
    expect(JSON.stringify(env)).not.toContain('secret');
  });
});

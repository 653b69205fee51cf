import { createHostPool } from '../../src/inference/host-pool.ts';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { hostPoolContract } from '../contracts/host-pool.ts';

hostPoolContract('the supervised pool, 1 host', () => createHostPool({ provider: 'cpu', hosts: 1, threads: 1 }));
hostPoolContract('the supervised pool, 2 hosts', () => createHostPool({ provider: 'cpu', hosts: 2, threads: 1 }));
hostPoolContract('the supervised pool, a host on each of 2 devices', () =>
  createHostPool({ provider: 'cpu', hosts: 2, threads: 1, devices: [0, 3] }),
);
hostPoolContract('the pool in process', () => createLocalPool({ threads: 1 }));

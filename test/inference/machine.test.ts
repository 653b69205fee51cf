import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { candidates, type GraphicsFacts, hasHardwareAdapter } from '../../src/inference/adapters.ts';
import { restartDelay } from '../../src/inference/backoff.ts';
import { cpuBudget, memoryBudget } from '../../src/inference/cgroup.ts';
import { isStickyFault } from '../../src/inference/device-faults.ts';
import { chooseLayout, layouts } from '../../src/inference/host-layout.ts';
import { hostsThatFit, memoryLimits } from '../../src/inference/memory-plan.ts';

const reader = (files: Readonly<Record<string, string>>) => (path: string) => files[path];

describe('the CPU budget', () => {
  it.each([
    ['no limit anywhere', {}, 8, 8],
    ['v2, root', { '/sys/fs/cgroup/cpu.max': '200000 100000' }, 8, 2],
    ['v2, no limit', { '/sys/fs/cgroup/cpu.max': 'max 100000' }, 8, 8],
    ['v2, a fraction', { '/sys/fs/cgroup/cpu.max': '350000 100000' }, 8, 3],
    ['v2, below one core', { '/sys/fs/cgroup/cpu.max': '50000 100000' }, 8, 1],
    ['v2, own group', { '/proc/self/cgroup': '0::/pod/box', '/sys/fs/cgroup/pod/box/cpu.max': '400000 100000' }, 8, 4],
    [
      'v2, a group above is tighter',
      {
        '/proc/self/cgroup': '0::/pod/box',
        '/sys/fs/cgroup/pod/box/cpu.max': 'max 100000',
        '/sys/fs/cgroup/pod/cpu.max': '300000 100000',
      },
      8,
      3,
    ],
    [
      'v1',
      {
        '/proc/self/cgroup': '4:memory:/x\n2:cpu,cpuacct:/box\n',
        '/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us': '150000',
        '/sys/fs/cgroup/cpu/box/cpu.cfs_period_us': '50000',
      },
      8,
      3,
    ],
    [
      'v1, no limit',
      { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000' },
      8,
      8,
    ],
    ['a quota above the processors', { '/sys/fs/cgroup/cpu.max': '1600000 100000' }, 4, 4],
  ])('%s', (_, files, processors, expected) => {
    expect(cpuBudget(reader(files), processors)).toBe(expected);
  });

  it('of this machine is at least one core', () => {
    expect(cpuBudget()).toBeGreaterThanOrEqual(1);
  });
});

describe('the memory budget', () => {
  const GIB = 2 ** 30;
  it.each([
    ['no limit anywhere', {}, 8 * GIB],
    ['v2, root', { '/sys/fs/cgroup/memory.max': '3221225472' }, 3 * GIB],
    ['v2, no limit', { '/sys/fs/cgroup/memory.max': 'max' }, 8 * GIB],
    [
      'v2, a group above is tighter',
      {
        '/proc/self/cgroup': '0::/pod/box',
        '/sys/fs/cgroup/pod/box/memory.max': 'max',
        '/sys/fs/cgroup/pod/memory.max': '2147483648',
      },
      2 * GIB,
    ],
    [
      'v1, own group',
      { '/proc/self/cgroup': '4:memory:/box\n0::/', '/sys/fs/cgroup/memory/box/memory.limit_in_bytes': '1073741824' },
      GIB,
    ],
    [
      'v1 with other controllers, a group above is tighter',
      {
        '/proc/self/cgroup': '4:cpuset,memory:/pod/box',
        '/sys/fs/cgroup/memory/pod/box/memory.limit_in_bytes': '9223372036854771712',
        '/sys/fs/cgroup/memory/pod/memory.limit_in_bytes': '1073741824',
      },
      GIB,
    ],
    ['v1, no limit', { '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712' }, 8 * GIB],
    ['a limit above the memory of the machine', { '/sys/fs/cgroup/memory.max': '68719476736' }, 8 * GIB],
    ['an empty file', { '/sys/fs/cgroup/memory.max': '' }, 8 * GIB],
  ])('%s', (_, files, expected) => {
    expect(memoryBudget(reader(files), 8 * GIB)).toBe(expected);
  });

  it('of this machine is more than a host takes', () => {
    expect(memoryBudget()).toBeGreaterThan(2 ** 28);
  });
});

describe('memory of hosts', () => {
  const GIB = 2 ** 30;
  it('limits their number, and is given as few hosts as weights fit', () => {
    // The shipped model (24 MB) in the memory of a small pod, and 150M float32 parameters (600 MB).
    expect(hostsThatFit(8, GIB, 24e6)).toBe(2);
    expect(hostsThatFit(2, 3 * GIB, 24e6)).toBe(2);
    expect(hostsThatFit(8, 3 * GIB, 600e6)).toBe(2);
    expect(hostsThatFit(8, 2 * GIB, 600e6)).toBe(1);
    expect(hostsThatFit(8, 8 * GIB, 600e6)).toBe(7);
    expect(hostsThatFit(8, 2 ** 28, 600e6)).toBe(1);
    expect(hostsThatFit(8, GIB, Number.POSITIVE_INFINITY)).toBe(1);
  });

  it('is never promised twice: all hosts at their limit, a replacement and the front process stay below it', () => {
    const bytes = fc.integer({ min: 2 ** 20, max: 2 ** 40 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        bytes,
        fc.integer({ min: 0, max: 2 ** 34 }),
        (most, memory, weights) => {
          const hosts = hostsThatFit(most, memory, weights);
          expect(hosts).toBeGreaterThanOrEqual(1);
          expect(hosts).toBeLessThanOrEqual(most);
          const { hostBytes, hasSpare, fits, modelBytes } = memoryLimits(hosts, memory, weights);
          // Resident memory of each host has 72 MiB that all share.
          const own = hostBytes - 72 * 2 ** 20;
          expect(hosts * own).toBeLessThan(memory);
          expect(modelBytes).toBeLessThan(memory);
          // More than one host is chosen only where a replacement fits beside them.
          if (hosts > 1) expect(hasSpare).toBe(true);
          if (hasSpare) expect(fits && own >= weights && hosts * own + weights < memory).toBe(true);
          // Memory and weights change the number in one direction.
          expect(hostsThatFit(most, 2 * memory, weights)).toBeGreaterThanOrEqual(hosts);
          expect(hostsThatFit(most, memory, 2 * weights)).toBeLessThanOrEqual(hosts);
        },
      ),
    );
  });
});

describe('hosts and threads', () => {
  it('never use more than the budget unless set', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), fc.nat(16), (budget, threads) => {
        const plan = chooseLayout('cpu', 0, threads, budget);
        expect(plan.hosts).toBeGreaterThanOrEqual(1);
        expect(plan.threads).toBeGreaterThanOrEqual(1);
        if (threads <= budget) expect(plan.hosts * plan.threads).toBeLessThanOrEqual(budget);
      }),
    );
  });

  it('are one a core on the CPU, one host on a GPU, and what is set', () => {
    expect(chooseLayout('cpu', 0, 0, 4)).toEqual({ hosts: 4, threads: 1 });
    expect(chooseLayout('cpu', 0, 0, 7)).toEqual({ hosts: 7, threads: 1 });
    // From 8 cores on, HTTP and tokenization have one.
    expect(chooseLayout('cpu', 0, 0, 8)).toEqual({ hosts: 7, threads: 1 });
    expect(chooseLayout('cpu', 0, 2, 16)).toEqual({ hosts: 7, threads: 2 });
    expect(chooseLayout('cpu', 2, 0, 4)).toEqual({ hosts: 2, threads: 2 });
    expect(chooseLayout('cpu', 0, 2, 4)).toEqual({ hosts: 2, threads: 2 });
    expect(chooseLayout('cpu', 3, 5, 4)).toEqual({ hosts: 3, threads: 5 });
    expect(chooseLayout('cuda', 0, 0, 4)).toEqual({ hosts: 1, threads: 4 });
    expect(chooseLayout('cuda', 0, 0, 4, 2)).toEqual({ hosts: 2, threads: 2 });
    expect(chooseLayout('cuda', 4, 0, 4, 2)).toEqual({ hosts: 4, threads: 1 });
    expect(chooseLayout('cpu', 0, 0, 4, 2)).toEqual({ hosts: 4, threads: 1 });
    expect(chooseLayout('webgpu', 0, 0, 4, 2)).toEqual({ hosts: 1, threads: 4 });
  });

  it('can be shared out in these ways', () => {
    expect(layouts(4).map(({ hosts, threads }) => `${hosts}x${threads}`)).toEqual(['1x4', '2x2', '4x1']);
  });
});

describe('what auto tries', () => {
  const bare: GraphicsFacts = { platform: 'linux', drivers: [], nvidia: false, icds: '' };

  it.each<[string, Partial<GraphicsFacts>, readonly string[]]>([
    ['nothing in sight', {}, ['cpu']],
    ['an NVIDIA device', { nvidia: true }, ['cuda', 'webgpu', 'cpu']],
    ['an AMD render node', { drivers: ['amdgpu'] }, ['webgpu', 'cpu']],
    ['a virtual render node', { drivers: ['virtio_gpu'] }, ['cpu']],
    ['SwiftShader', { icds: '/usr/lib/chromium/vk_swiftshader_icd.json' }, ['cpu']],
    ['lavapipe in front of a GPU', { drivers: ['i915'], icds: '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json' }, ['cpu']],
    ['a Mac', { platform: 'darwin' }, ['webgpu', 'cpu']],
  ])('%s', (_, facts, expected) => {
    expect(candidates({ ...bare, ...facts })).toEqual(expected);
    expect(hasHardwareAdapter({ ...bare, ...facts })).toBe(expected.includes('webgpu'));
  });
});

describe('restarts wait', () => {
  it('not at first, then twice as long each time, up to the limit', () => {
    const waits = [1, 2, 3, 4, 5, 60].map((n) => restartDelay(n, { baseMs: 100, maxMs: 500, stableMs: 0 }));
    expect(waits).toEqual([0, 100, 200, 400, 500, 500]);
  });
});

describe('device faults', () => {
  it.each([
    ['CUDA error 700: an illegal memory access was encountered', true],
    ['CUDA failure 719: unspecified launch failure ; GPU=0', true],
    ['CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED', true],
    ['WebGPU device lost (2): device was destroyed', true],
    ['CUDA failure 2: out of memory ; GPU=0', false],
    ['Failed to allocate memory for requested buffer of size 4294967296', false],
    ['CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED', false],
    ['indices element out of data bounds, idx=99999', false],
  ])('%s: %s', (message, sticky) => {
    expect(isStickyFault(message)).toBe(sticky);
  });
});

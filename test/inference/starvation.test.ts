import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { extraMs, parseStat, processorUse } from '../../src/inference/starvation.ts';

describe('a host that exceeds the limit of a call', () => {
  const call = { limitMs: 2000, elapsedMs: 2000, cpuMsBefore: 5000 };
  const use = (cpuMs: number, wantsProcessor = true) => ({ cpuMs, wantsProcessor });

  it.each([
    ['has used its time', use(7000), 2000, 0],
    ['has waited for a processor: it gets the rest', use(5500), 2000, 1500],
    ['still waits at ten times the limit', use(5010), 20_000, 0],
    ['is close to ten times the limit', use(5010), 19_500, 500],
    ['sleeps or is stopped', use(5500, false), 2000, 0],
    ['is gone, or the system does not say', undefined, 2000, 0],
    ['reports less processor time than before, as a process with the same id would', use(10), 2000, 2000],
  ])('%s', (_, used, elapsedMs, expected) => {
    expect(extraMs({ ...call, elapsedMs }, used)).toBe(expected);
  });
});

describe('the processor time of a process', () => {
  it('is read after the last bracket of its name', () => {
    const rest = '1 1 1 0 -1 4194304 100 0 0 0 150 50 0 0 25 5 12 0 100';
    expect(parseStat(`7 (a) R (b c) R ${rest}`)).toEqual({ wantsProcessor: true, cpuMs: 2000 });
    expect(parseStat(`7 (node) S ${rest}`).wantsProcessor).toBe(false);
  });

  it.skipIf(process.platform !== 'linux')(
    'is known while it runs: one that loops wants a processor, one that waits does not',
    async () => {
      const start = async (code: string) => {
        const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'ignore'] });
        onTestFinished(() => void child.kill('SIGKILL'));
        await once(child.stdout, 'data');
        return child.pid!;
      };
      const looping = await start("require('fs').writeSync(1, 'x'); for (;;);");
      const before = processorUse(looping)!.cpuMs;
      await expect.poll(() => processorUse(looping)!.cpuMs, { timeout: 20_000 }).toBeGreaterThan(before);
      expect(processorUse(looping)!.wantsProcessor).toBe(true);
      const waiting = await start("require('fs').writeSync(1, 'x'); setTimeout(() => {}, 60_000);");
      await expect.poll(() => processorUse(waiting)!.wantsProcessor, { timeout: 20_000 }).toBe(false);
      expect(processorUse(0x7ffffff0)).toBeUndefined();
    },
  );
});

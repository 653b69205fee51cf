import { vi } from 'vitest';
import { runWinnow } from '../../src/cli/run-winnow.ts';

/** Runs a command in this process; resolves to its exit code and what it printed. */
export async function winnow(...args: string[]): Promise<{ code: number; error: string; output: string }> {
  let error = '';
  let output = '';
  const streams = [
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      error += String(text);
      return true;
    }),
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      output += String(text);
      return true;
    }),
  ];
  const code = await runWinnow(['node', 'winnow', ...args]);
  for (const stream of streams) stream.mockRestore();
  return { code, error, output };
}

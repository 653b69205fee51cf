import { rmSync } from 'node:fs';

/* Paths that must not outlive the process, whatever ends it: its own exit, or a signal that nothing else listens to. */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const held = new Set<string>();

function removeAll(): void {
  for (const path of held) rmSync(path, { recursive: true, force: true });
}

function onSignal(signal: NodeJS.Signals): void {
  // Another listener ends the work in order, or exits: until then the paths are in use.
  if (process.listenerCount(signal) > 1) return;
  removeAll();
  listen(false);
  process.kill(process.pid, signal);
}

function listen(on: boolean): void {
  process[on ? 'on' : 'off']('exit', removeAll);
  // First in line: a listener for one signal only is counted before it removes itself.
  for (const signal of SIGNALS) process[on ? 'prependListener' : 'off'](signal, onSignal);
}

/** Removes a file or folder when the process exits or a signal ends it. @returns what takes the order back. */
export function removeAtExit(path: string): () => void {
  if (held.size === 0) listen(true);
  held.add(path);
  return () => {
    if (held.delete(path) && held.size === 0) listen(false);
  };
}

import { SingleBar } from 'cli-progress';

/** A display of progress: a bar with ETA on a terminal, a log line every few seconds elsewhere. */
export interface Progress {
  /** @param note shown behind the bar, such as a loss or a file name. */
  update(done: number, note?: string): void;
  stop(): void;
}

/**
 * Starts a display of `total` units. `from` of them were done before it started, by an earlier run for example: they are counted, but the time to
 * the end follows from the others.
 */
export type StartProgress = (label: string, total: number, from?: number) => Progress;

interface ProgressOptions {
  readonly stream?: NodeJS.WriteStream;
  /** Milliseconds between log lines without a terminal; default 5,000. */
  readonly everyMs?: number;
  readonly now?: () => number;
}

function seconds(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  return s < 60
    ? `${s} s`
    : s < 3600
      ? `${Math.floor(s / 60)} min ${s % 60} s`
      : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function barOnTerminal(label: string, total: number, from: number, stream: NodeJS.WriteStream): Progress {
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}% | {value}/{total} | ETA {eta_formatted} {note}`,
    stream,
    hideCursor: true,
    etaBuffer: 50,
  });
  bar.start(total, from, { note: '' });
  return { update: (done, note = '') => bar.update(done, { note }), stop: () => bar.stop() };
}

function logLines(
  label: string,
  total: number,
  from: number,
  stream: NodeJS.WriteStream,
  everyMs: number,
  now: () => number,
): Progress {
  const start = now();
  let last = Number.NEGATIVE_INFINITY;
  return {
    update(done, note = '') {
      const at = now();
      if (at - last < everyMs && done < total) return;
      last = at;
      const eta = done > from ? seconds(((at - start) / (done - from)) * (total - done)) : '?';
      stream.write(
        `${label} ${done}/${total} (${((100 * done) / Math.max(1, total)).toFixed(1)} %), ETA ${eta}${note ? ` ${note}` : ''}\n`,
      );
    },
    stop() {},
  };
}

/** Starts a progress display on standard error, so that standard output holds data only; see `StartProgress`. */
export function startProgress(label: string, total: number, from = 0, options: ProgressOptions = {}): Progress {
  const stream = options.stream ?? process.stderr;
  if (stream.isTTY) return barOnTerminal(label, total, from, stream);
  return logLines(label, total, from, stream, options.everyMs ?? 5000, options.now ?? Date.now);
}

import { cpus } from 'node:os';
import { percent } from '../src/reports/format.ts';
import { median, type Summary, table } from './load/figures.ts';
import type { Rounds, Served } from './serve-rounds.ts';

/** The open loop at a multiple of the capacity. */
export interface Overload extends Summary {
  readonly multiple: number;
  /** Requests a second. */
  readonly rate: number;
  /** Mean pairs a second of the closed loop right before and right after. */
  readonly capacity: number;
}

export interface ServeResult {
  /** Of the passages. */
  readonly source: string;
  readonly passages: number;
  readonly deadlineMs: number;
  readonly served: Served;
  readonly rounds: Rounds;
  readonly loads: readonly Overload[];
  readonly readyMs: readonly number[];
  /** Memory of the server's process tree, in bytes. */
  readonly idleRss: number;
  readonly loadedRss: number;
  readonly padding: number;
  /** Of the worst load, in seconds. */
  readonly eventLoopP99: number;
  readonly otherCpu: number;
}

interface Target {
  readonly what: string;
  readonly seen: string;
  readonly asked: string;
  readonly met: boolean;
}

const fixed = (value: number, digits = 1) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)}`;
const spread = (values: readonly number[]) => `${fixed(Math.min(...values))}–${fixed(Math.max(...values))}`;

/** Lists the service's targets with the values seen. */
export function targetsOf(result: ServeResult): readonly Target[] {
  const { rounds, loads, padding, eventLoopP99, readyMs, deadlineMs } = result;
  const efficiency = median(rounds.server.map((rate, i) => rate / rounds.engine[i]!));
  const triple = loads.find(({ multiple }) => multiple === 3)!;
  const goodput = triple.goodput / triple.capacity;
  const ready = median(readyMs);
  return [
    { what: 'efficiency against the bare engine', seen: percent(efficiency), asked: '≥ 95 %', met: efficiency >= 0.95 },
    { what: 'goodput at 3× ÷ capacity', seen: percent(goodput), asked: '≥ 95 %', met: goodput >= 0.95 },
    {
      what: 'p99 of accepted requests at 3×',
      seen: `${fixed(triple.p99, 0)} ms`,
      asked: `≤ ${deadlineMs} ms`,
      met: triple.p99 <= deadlineMs,
    },
    { what: 'padding', seen: percent(padding), asked: '≤ 8 %', met: padding <= 0.08 },
    {
      what: 'event loop delay p99',
      seen: `${fixed(1000 * eventLoopP99)} ms`,
      asked: '< 20 ms',
      met: eventLoopP99 < 0.02,
    },
    { what: 'time to ready', seen: `${fixed(ready, 0)} ms`, asked: '< 1500 ms', met: ready < 1500 },
  ];
}

function closedTable({ rounds, loadedRss, idleRss }: ServeResult): string {
  return table(
    ['closed loop', 'pairs/s (median)', 'spread', 'memory MB'],
    [
      [`engine alone (${rounds.layout})`, fixed(median(rounds.engine)), spread(rounds.engine), '–'],
      [
        'winnow',
        fixed(median(rounds.server)),
        spread(rounds.server),
        `${megabytes(loadedRss)} (idle ${megabytes(idleRss)})`,
      ],
      ['@huggingface/transformers', fixed(median(rounds.peer)), spread(rounds.peer), megabytes(rounds.peerRss)],
    ],
  );
}

function openTable({ loads }: ServeResult): string {
  return table(
    [
      '× capacity',
      'capacity pairs/s',
      'requests/s',
      'goodput pairs/s',
      'answered',
      'refused',
      'failed',
      'p50 ms',
      'p90 ms',
      'p99 ms',
    ],
    loads.map((l) => [
      `${l.multiple}`,
      fixed(l.capacity),
      fixed(l.rate, 2),
      fixed(l.goodput),
      `${l.answered}`,
      `${l.refused}`,
      `${l.failed}${l.firstError ? ` (${l.firstError})` : ''}`,
      fixed(l.p50, 0),
      fixed(l.p90, 0),
      fixed(l.p99, 0),
    ]),
  );
}

/** Formats all results as Markdown. */
export function report(result: ServeResult): string {
  const { served, source, passages, otherCpu } = result;
  const model = `${served.folder.split('/').slice(-2).join('@')} (${served.variant})`;
  const targets = targetsOf(result).map((t) => [t.what, t.seen, t.asked, t.met ? 'yes' : 'no']);
  return [
    `${cpus()[0]?.model}, ${cpus().length} cores, node ${process.version}; ${model}; ${source}, ${passages} passages a request;`,
    `other CPU ${otherCpu} % of a core.`,
    '',
    closedTable(result),
    '',
    openTable(result),
    '',
    table(['target', 'seen', 'asked', 'met'], targets),
  ].join('\n');
}

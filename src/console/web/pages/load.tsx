import { useEffect, useState } from 'preact/hooks';
import type { LoadAnswer } from '../../types.ts';
import { bytes, count, duration, figure, percent } from '../format.ts';
import { useData } from '../hooks.ts';
import { type Period, periodBetween } from '../load-period.ts';
import { Facts, Fault } from '../parts.tsx';
import { Sparkline } from '../sparkline.tsx';

const EVERY_MS = 2000;
const PERIODS = 150;

interface Panel {
  readonly title: string;
  readonly of: (s: Period) => number;
  readonly text: (value: number) => string;
  /** A second line under the value. */
  readonly note?: (s: Period) => string;
}

const ms = (value: number) => (Number.isNaN(value) ? 'idle' : duration(value));
const rate = (value: number) => `${figure(value)} /s`;

const PANELS: readonly Panel[] = [
  { title: 'Requests', of: (s) => s.requests, text: rate, note: (s) => `${count(s.inFlight)} in flight` },
  { title: 'Pairs scored', of: (s) => s.pairs, text: rate },
  { title: 'Latency, p95', of: (s) => s.p95Ms, text: ms, note: (s) => `p50 ${ms(s.p50Ms)}, p99 ${ms(s.p99Ms)}` },
  { title: 'Wait in the queue, p95', of: (s) => s.waitP95Ms, text: ms },
  {
    title: 'Queued tokens',
    of: (s) => s.queueTokens,
    text: count,
    note: (s) => `${count(s.queueJobs)} requests waiting`,
  },
  {
    title: 'Batches',
    of: (s) => s.batches,
    text: rate,
    note: (s) => (Number.isNaN(s.rowsPerBatch) ? '' : `${figure(s.rowsPerBatch)} rows each`),
  },
  { title: 'Padding', of: (s) => s.padding, text: (v) => (Number.isNaN(v) ? 'idle' : percent(v)) },
  {
    title: 'Passages kept',
    of: (s) => s.kept,
    text: (v) => (Number.isNaN(v) ? 'idle' : percent(v)),
    note: (s) => `${count(s.keptEntries)} in ${bytes(s.keptBytes)}`,
  },
  { title: 'Errors', of: (s) => s.errors, text: rate, note: (s) => `${figure(s.shed)} rows shed /s` },
  { title: 'Event loop delay, p99', of: (s) => s.loopP99Ms, text: ms },
  { title: 'Memory of hosts', of: (s) => s.hostRss, text: bytes },
  { title: 'Memory of the HTTP process', of: (s) => s.processRss, text: bytes },
];

/** The periods of the last minutes. */
function useHistory(sample: LoadAnswer | undefined): readonly Period[] {
  const [state, setState] = useState<{ last?: LoadAnswer; history: readonly Period[] }>({ history: [] });
  useEffect(() => {
    if (!sample) return;
    setState(({ last, history }) => {
      const next = last && periodBetween(last, sample);
      return {
        last: sample,
        history: next ? [...history, next].slice(-PERIODS) : last && last.at < sample.at ? [] : history,
      };
    });
  }, [sample]);
  return state.history;
}

function PanelView({ panel, history }: { panel: Panel; history: readonly Period[] }) {
  const latest = history.at(-1);
  const value = latest ? panel.of(latest) : Number.NaN;
  return (
    <section class="panel" aria-label={panel.title}>
      <h2>{panel.title}</h2>
      <p class="panel-value tabular">{latest ? panel.text(value) : '…'}</p>
      <p class="panel-note tabular">{(latest && panel.note?.(latest)) || '\u00a0'}</p>
      <Sparkline label={panel.title} values={history.map(panel.of)} text={panel.text} />
    </section>
  );
}

export function LoadPage() {
  const sample = useData<LoadAnswer>('console/api/load', EVERY_MS);
  const history = useHistory(sample.value);
  const { hosts, requests, batches } = sample.value ?? {};
  return (
    <>
      <h1>Load</h1>
      <Fault error={sample.error} />
      {hosts && (
        <Facts
          entries={[
            ['Hosts', `${hosts.alive} of ${hosts.rss.length} on ${hosts.provider}`],
            ['Restarts', count(hosts.restarts)],
            ['Recycled', count(hosts.recycles)],
            ['Requests so far', count(requests ?? 0)],
            ['Batches so far', count(batches ?? 0)],
          ]}
        />
      )}
      <div class="panels">
        {PANELS.map((panel) => (
          <PanelView key={panel.title} panel={panel} history={history} />
        ))}
      </div>
      <p class="muted">
        Updated every {EVERY_MS / 1000} s; the charts show the last {(PERIODS * EVERY_MS) / 60_000} minutes.
      </p>
    </>
  );
}

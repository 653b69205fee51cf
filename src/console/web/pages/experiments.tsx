import { useState } from 'preact/hooks';
import type { ExperimentReport } from '../../../experiments/analysis/report-data.ts';
import type { Series } from '../../../experiments/analysis/series.ts';
import type { ExperimentView } from '../../../experiments/experiments-api.ts';
import { AuditTrail, DefinitionFacts, DefinitionText } from '../experiment/definition.tsx';
import { ArmTable, Credit, MetricResult, SampleRatio, Shadow } from '../experiment/results.tsx';
import { count, moment } from '../format.ts';
import { useData, useRoute } from '../hooks.ts';
import { Badge, Empty, Fault, Notice, type Tone } from '../parts.tsx';

const STATUS: Readonly<Record<ExperimentView['status'], Tone>> = {
  running: 'good',
  scheduled: 'accent',
  ended: 'plain',
  disabled: 'plain',
};

const VERDICTS: Readonly<Record<ExperimentReport['verdict']['state'], readonly [Tone, string]>> = {
  win: ['good', 'Decided'],
  loss: ['bad', 'Decided'],
  sample_ratio: ['bad', 'Not reliable'],
  open: ['plain', 'Open'],
  empty: ['plain', 'No data'],
  observed: ['accent', 'Observed'],
};

function Verdict({ report: { verdict, from, to, arms } }: { report: ExperimentReport }) {
  const [tone, word] = VERDICTS[verdict.state];
  const units = arms.reduce((sum, arm) => sum + arm.units, 0);
  const requests = arms.reduce((sum, arm) => sum + arm.requests, 0);
  return (
    <section class={`verdict verdict-${tone}`} aria-label="Verdict" aria-live="polite">
      <p class="verdict-word">{word}</p>
      <p>{verdict.text}</p>
      {from !== undefined && to !== undefined && (
        <p class="muted small tabular">
          {units > 0 && `${count(units)} units, `}
          {requests > 0 && `${count(requests)} requests, `}
          {moment(from)} to {moment(to)} UTC
        </p>
      )}
    </section>
  );
}

function Results({ report, series }: { report: ExperimentReport; series: Series | undefined }) {
  return (
    <>
      <Verdict report={report} />
      <SampleRatio ratio={report.sampleRatio} />
      {report.arms.flatMap(({ arm, tripped }) =>
        tripped === undefined
          ? []
          : [
              <Notice key={arm} tone="bad" title={`A guardrail disabled ${arm}; control answers in its place.`}>
                {tripped}
              </Notice>,
            ],
      )}
      {report.warnings.map((warning) => (
        <Notice key={warning} tone="warn">
          {warning}
        </Notice>
      ))}
      {series?.asOf !== undefined && <p class="muted">Effects over time as of {moment(series.asOf)}.</p>}
      {report.metrics.map((section) => (
        <MetricResult key={section.name} section={section} series={series} />
      ))}
      {report.credit.map((section) => (
        <Credit key={section.metric} section={section} />
      ))}
      {Object.keys(report.shadow).length > 0 && (
        <section class="metric" aria-label="Shadow figures">
          <h3>Shadow rankings compared with the answers</h3>
          <Shadow shadow={report.shadow} />
        </section>
      )}
      <section class="metric" aria-labelledby="arms-title">
        <h2 id="arms-title">Arms</h2>
        <ArmTable report={report} />
      </section>
    </>
  );
}

/** Chooses when figures begin: with the arms as they are now, with a definition, or with the first exposure. */
function SinceChoice({
  report,
  since,
  onChange,
}: {
  report: ExperimentReport;
  since: string;
  onChange: (since: string) => void;
}) {
  const { definitions, since: begins } = report;
  if (definitions.length < 2 && begins === undefined && since === '') return null;
  return (
    <label class="since">
      Figures since{' '}
      <select value={since} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">arms are what they are now</option>
        {definitions.toReversed().map(({ configHash, firstAt, requests }) => (
          <option key={configHash} value={configHash}>
            {moment(firstAt)}: {configHash} ({count(requests)} requests)
          </option>
        ))}
        <option value="0">the first exposure, versions mixed</option>
      </select>
    </label>
  );
}

function Detail({ view }: { view: ExperimentView }) {
  const path = `v1/experiments/${encodeURIComponent(view.name)}`;
  const live = view.status === 'running';
  const [since, setSince] = useState('');
  const query = since === '' ? '' : `since=${since}`;
  const report = useData<ExperimentReport>(`${path}/report${query && `?${query}`}`, live ? 5000 : 0);
  const series = useData<Series>(
    view.mode === 'split' ? `${path}/series?points=40${query && `&${query}`}` : undefined,
    live ? 15_000 : 0,
  );
  return (
    <article class="experiment" aria-label={view.name}>
      <header class="version-head">
        <h2>{view.name}</h2>
        <Badge tone={STATUS[view.status]}>{view.status}</Badge>
        <Badge>{view.mode}</Badge>
      </header>
      <DefinitionFacts view={view} />
      {report.value && <SinceChoice report={report.value} since={since} onChange={setSince} />}
      <Fault error={report.error ?? series.error} />
      {report.value ? (
        <Results report={report.value} series={series.value} />
      ) : (
        report.waiting && <p class="muted">Reading the log…</p>
      )}
      <DefinitionText view={view} />
      <AuditTrail name={view.name} />
    </article>
  );
}

function Choice({ views, chosen }: { views: readonly ExperimentView[]; chosen: string }) {
  return (
    <nav class="experiments-nav" aria-label="Experiments">
      <ul>
        {views.map(({ name, status, mode }) => (
          <li key={name}>
            <a href={`#/experiments/${encodeURIComponent(name)}`} aria-current={name === chosen ? 'page' : undefined}>
              <span>{name}</span>
              <span class="muted small">
                {mode}, {status}
              </span>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

export function ExperimentsPage() {
  const [, wanted] = useRoute();
  const list = useData<{ readonly experiments: readonly ExperimentView[] }>('v1/experiments', 10_000);
  const views = list.value?.experiments;
  const view = views?.find(({ name }) => name === wanted) ?? (wanted ? undefined : views?.[0]);
  return (
    <>
      <h1>Experiments</h1>
      <Fault error={list.error} />
      {views?.length === 0 && (
        <Empty title="No experiment yet">
          <p>
            Define one in <code>experiments.yaml</code> (setting <code>experiments.file</code>) or with{' '}
            <code>PUT /v1/experiments/NAME</code>; it appears here automatically.
          </p>
        </Empty>
      )}
      {views && views.length > 0 && (
        <div class="experiments">
          <Choice views={views} chosen={view?.name ?? ''} />
          {view ? <Detail key={view.name} view={view} /> : <Empty title={`There is no experiment ${wanted}`} />}
        </div>
      )}
    </>
  );
}

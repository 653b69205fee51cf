import { useState } from 'preact/hooks';
import type { ModelEntry, ModelList } from '../../../http/routes/schemas.ts';
import type { VersionAbout } from '../../types.ts';
import { byModel } from '../catalog.ts';
import { ago, bytes, count } from '../format.ts';
import { type Loaded, useCall, useData, useTask } from '../hooks.ts';
import { Markdown } from '../markdown.tsx';
import { Badge, Empty, Facts, Fault, Notice, type Tone } from '../parts.tsx';

const TONES: Readonly<Record<ModelEntry['state'], Tone>> = {
  ready: 'good',
  loading: 'accent',
  draining: 'accent',
  available: 'plain',
  unloaded: 'plain',
  refused: 'bad',
};

const picture = (svg: string): string => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;

/** Card and training curve of a version, loaded when opened. */
function About({ entry }: { entry: ModelEntry }) {
  const about = useData<VersionAbout>(
    `console/api/models/${encodeURIComponent(entry.name)}/${encodeURIComponent(entry.version)}`,
  );
  const { card, curve } = about.value ?? {};
  return (
    <div class="version-about">
      <Fault error={about.error} />
      {about.value && !card && !curve && <p class="muted">This version has neither a card nor a training curve.</p>}
      {curve && <img class="curve" src={picture(curve)} alt={`Training curve of ${entry.id}`} />}
      {card && <Markdown text={card} />}
    </div>
  );
}

/** Points a label to a version. */
function LabelForm({ entry, onDone }: { entry: ModelEntry; onDone: () => void }) {
  const call = useCall();
  const [label, setLabel] = useState('');
  const { busy, error, run } = useTask();
  const submit = (event: Event) => {
    event.preventDefault();
    void run(async () => {
      const path = `v1/models/${encodeURIComponent(entry.name)}/labels/${encodeURIComponent(label.trim())}`;
      await call(path, { method: 'PUT', body: { version: entry.version } });
      setLabel('');
      onDone();
    });
  };
  return (
    <form class="row" onSubmit={submit}>
      <input
        aria-label={`New label for ${entry.id}`}
        list="known-labels"
        placeholder="label"
        required
        value={label}
        onInput={(event) => setLabel(event.currentTarget.value)}
      />
      <button type="submit" disabled={busy}>
        Set label
      </button>
      <Fault error={error} />
    </form>
  );
}

/** Buttons that load and unload a version. */
function LoadButtons({ entry, onDone }: { entry: ModelEntry; onDone: () => void }) {
  const call = useCall();
  const { busy, error, run } = useTask();
  const act = (verb: 'load' | 'unload') =>
    void run(async () => {
      // A refused load changes the version's state too.
      await call(`v2/repository/models/${encodeURIComponent(entry.id)}/${verb}`, { method: 'POST' }).finally(onDone);
    });
  const inMemory = entry.state === 'ready' || entry.state === 'draining';
  return (
    <>
      <div class="row">
        <button
          type="button"
          disabled={busy}
          onClick={() => act('load')}
          aria-label={`${inMemory ? 'Reload' : 'Load'} ${entry.id}`}
        >
          {inMemory ? 'Reload' : 'Load'}
        </button>
        {inMemory && (
          <button type="button" disabled={busy} onClick={() => act('unload')} aria-label={`Unload ${entry.id}`}>
            Unload
          </button>
        )}
      </div>
      <Fault error={error} />
    </>
  );
}

function Version({ entry, now, onChange }: { entry: ModelEntry; now: number; onChange: () => void }) {
  const [open, setOpen] = useState(false);
  return (
    <article class="version" aria-label={entry.id}>
      <header class="version-head">
        <h3>{entry.version}</h3>
        <Badge tone={TONES[entry.state]}>{entry.state}</Badge>
        {entry.labels.map((label) => (
          <Badge key={label} tone="accent">
            {label}
          </Badge>
        ))}
      </header>
      {entry.state === 'refused' && (
        <Notice tone="warn" title="Refused:">
          {entry.reason}
        </Notice>
      )}
      <Facts
        entries={[
          ['Objective', entry.objective],
          ['Variant', entry.variant],
          ['Provider', entry.provider],
          ['Length', entry.max_length && `${count(entry.max_length)} tokens`],
          ['Memory', entry.bytes && bytes(entry.bytes)],
          ['Used', entry.last_used && ago(entry.last_used, now)],
        ]}
      />
      <div class="version-actions">
        <LoadButtons entry={entry} onDone={onChange} />
        {entry.state !== 'refused' && <LabelForm entry={entry} onDone={onChange} />}
      </div>
      <button type="button" class="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
        {open ? 'Hide card and curve' : 'Card and curve'}
      </button>
      {open && <About entry={entry} />}
    </article>
  );
}

function Cards({ models }: { models: Loaded<ModelList> }) {
  const [now] = useState(() => Date.now());
  if (!models.value) return null;
  if (models.value.data.length === 0)
    return (
      <Empty title="No model yet">
        <p>
          Train one with <code>winnow train</code> or fetch one with <code>winnow models pull</code>; it appears here
          automatically.
        </p>
      </Empty>
    );
  return (
    <div class="cards">
      {byModel(models.value.data).map(([name, versions]) => (
        <section key={name} class="card" aria-labelledby={`model-${name}`}>
          <header class="version-head">
            <h2 id={`model-${name}`}>{name}</h2>
            {versions[0]?.default && <Badge>default</Badge>}
          </header>
          {versions.map((entry) => (
            <Version key={entry.id} entry={entry} now={Math.max(now, entry.last_used ?? 0)} onChange={models.reload} />
          ))}
        </section>
      ))}
    </div>
  );
}

export function ModelsPage() {
  const models = useData<ModelList>('v1/models', 5000);
  const labels = [...new Set(['stable', 'canary', ...(models.value?.data.flatMap((entry) => entry.labels) ?? [])])];
  return (
    <>
      <h1>Models</h1>
      <Fault error={models.error} />
      <datalist id="known-labels">
        {labels.map((label) => (
          <option key={label} value={label} />
        ))}
      </datalist>
      <Cards models={models} />
    </>
  );
}

import { useEffect, useState } from 'preact/hooks';
import type { ModelEntry, ModelList } from '../../../http/routes/schemas.ts';
import type { PlaygroundAnswer, SessionFacts } from '../../types.ts';
import type { Call } from '../api.ts';
import { referencesOf } from '../catalog.ts';
import { Ranking } from '../column.tsx';
import { figure } from '../format.ts';
import { useCall, useData, useTask } from '../hooks.ts';
import { Fault } from '../parts.tsx';
import { kendall, readPassages } from '../ranking.ts';

const EXAMPLE = {
  query: 'how long does a flea live',
  passages: [
    'The committee will meet on Thursday to discuss the new tariff on copper imports.',
    'A flea can live up to a year, but its general lifespan depends on its living conditions.',
    'Dogs and cats often scratch when they are bitten by small insects.',
    'The life cycle of a flea lasts from 20 days to an entire year.',
    'Bridges are inspected every five years.',
  ].join('\n'),
};

/** Storage key of the form's content, which survives a change of page. */
const DRAFT = 'winnow-console-playground';

interface Draft {
  readonly query: string;
  readonly passages: string;
  readonly models: readonly string[];
}

function readDraft(): Draft {
  try {
    return {
      query: '',
      passages: '',
      models: [],
      ...(JSON.parse(sessionStorage.getItem(DRAFT) ?? '{}') as Partial<Draft>),
    };
  } catch {
    return { query: '', passages: '', models: [] };
  }
}

function useDraft() {
  const [draft, setDraft] = useState<Draft>(readDraft);
  useEffect(() => sessionStorage.setItem(DRAFT, JSON.stringify(draft)), [draft]);
  return [draft, (change: Partial<Draft>) => setDraft((old) => ({ ...old, ...change }))] as const;
}

interface ModelPickerProps {
  readonly models: readonly ModelEntry[];
  readonly chosen: readonly string[];
  readonly onChange: (chosen: readonly string[]) => void;
}

/** Selects any number of models; the others are compared with the first. */
function ModelPicker({ models, chosen, onChange }: ModelPickerProps) {
  const [typed, setTyped] = useState('');
  const offered = referencesOf(models);
  const all = [...offered, ...chosen.filter((reference) => !offered.includes(reference))];
  const toggle = (reference: string) =>
    onChange(chosen.includes(reference) ? chosen.filter((one) => one !== reference) : [...chosen, reference]);
  const add = () => {
    const reference = typed.trim();
    if (reference && !chosen.includes(reference)) onChange([...chosen, reference]);
    setTyped('');
  };
  return (
    <fieldset class="picker">
      <legend>Models</legend>
      <div class="choices">
        {all.map((reference) => (
          <label key={reference} class="choice">
            <input type="checkbox" checked={chosen.includes(reference)} onChange={() => toggle(reference)} />
            <span>{reference}</span>
          </label>
        ))}
      </div>
      <div class="row">
        <input
          aria-label="Another model, such as name:label"
          placeholder="name, name@version or name:label"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter') return;
            event.preventDefault();
            add();
          }}
        />
        <button type="button" onClick={add} disabled={!typed.trim()}>
          Add
        </button>
      </div>
    </fieldset>
  );
}

/** The answer of one model in a comparison. */
interface Outcome {
  readonly reference: string;
  readonly answer?: PlaygroundAnswer;
  readonly error?: Error;
}

interface Comparison {
  readonly passages: readonly string[];
  readonly outcomes: readonly Outcome[];
}

function Comparison({ passages, outcomes }: Comparison) {
  const first = outcomes[0]?.answer;
  return (
    <section class="results" aria-labelledby="results-title">
      <h2 id="results-title">Rankings</h2>
      <div class="columns">
        {outcomes.map(({ reference, answer, error }, i) => (
          <article key={reference} class="column" aria-label={`Ranking of ${reference}`}>
            <Fault error={error} />
            {answer && (
              <Ranking reference={reference} answer={answer} passages={passages} base={i > 0 ? first : undefined} />
            )}
            {answer && first && i > 0 && (
              <p class="muted tabular">
                Kendall’s τ with {outcomes[0]!.reference}: {figure(kendall(first, answer))}
              </p>
            )}
          </article>
        ))}
      </div>
    </section>
  );
}

/** Ranks with one model after the other, so that no model's timings include the work of another. */
async function rankInTurn(
  call: Call,
  query: string,
  passages: readonly string[],
  models: readonly string[],
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const reference of models) {
    try {
      const body = { query, passages, model: reference };
      const answer = await call<PlaygroundAnswer>('console/api/rerank', { method: 'POST', body });
      outcomes.push({ reference, answer });
    } catch (error) {
      outcomes.push({ reference, error: error as Error });
    }
  }
  return outcomes;
}

export function PlaygroundPage({ session }: { session: SessionFacts }) {
  const call = useCall();
  const models = useData<ModelList>('v1/models');
  const [draft, change] = useDraft();
  const [result, setResult] = useState<Comparison>();
  const { busy, error, run } = useTask();
  const chosen = draft.models.length > 0 ? draft.models : session.defaultModel ? [session.defaultModel] : [];
  const ask = async () => {
    const passages = readPassages(draft.passages);
    setResult({ passages, outcomes: await rankInTurn(call, draft.query, passages, chosen) });
  };
  const submit = (event: Event) => {
    event.preventDefault();
    void run(ask);
  };
  return (
    <div class="playground">
      <form
        onSubmit={submit}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
        }}
      >
        <h1>Playground</h1>
        <label>
          Query
          <input
            name="query"
            required
            value={draft.query}
            onInput={(event) => change({ query: event.currentTarget.value })}
          />
        </label>
        <label>
          Passages, one a line or a JSON array
          <textarea
            name="passages"
            rows={9}
            required
            value={draft.passages}
            onInput={(event) => change({ passages: event.currentTarget.value })}
          />
        </label>
        <ModelPicker models={models.value?.data ?? []} chosen={chosen} onChange={(next) => change({ models: next })} />
        <Fault error={models.error ?? error} />
        <div class="row">
          <button type="submit" class="primary" disabled={busy || chosen.length === 0}>
            {busy ? 'Ranking…' : 'Rank'}{' '}
            <span class="key" aria-hidden="true">
              Ctrl ↵
            </span>
          </button>
          <button type="button" onClick={() => change(EXAMPLE)}>
            Fill in an example
          </button>
        </div>
      </form>
      <div aria-live="polite" aria-busy={busy}>
        {result ? (
          <Comparison {...result} />
        ) : (
          <p class="hint">
            Rankings of the models you choose appear here side by side, with the places each passage gains or loses.
          </p>
        )}
      </div>
    </div>
  );
}

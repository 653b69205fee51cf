import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import type { SessionFacts } from '../types.ts';
import { type ApiError, callWith, keyStore } from './api.ts';
import { CallContext, goTo, type Theme, useRoute, useTheme } from './hooks.ts';
import { KeyForm } from './key-form.tsx';
import { ExperimentsPage } from './pages/experiments.tsx';
import { LoadPage } from './pages/load.tsx';
import { ModelsPage } from './pages/models.tsx';
import { PlaygroundPage } from './pages/playground.tsx';
import { Fault } from './parts.tsx';

const TABS = [
  { id: 'playground', title: 'Playground', Page: PlaygroundPage },
  { id: 'models', title: 'Models', Page: ModelsPage },
  { id: 'experiments', title: 'Experiments', Page: ExperimentsPage },
  { id: 'load', title: 'Load', Page: LoadPage },
] as const;

const NEXT_THEME: Readonly<Record<Theme, Theme>> = { system: 'light', light: 'dark', dark: 'system' };

function ThemeButton() {
  const [theme, setTheme] = useTheme();
  return (
    <button
      type="button"
      class="quiet"
      onClick={() => setTheme(NEXT_THEME[theme])}
      aria-label={`Colors: ${theme}. Change`}
    >
      Colors: {theme}
    </button>
  );
}

const inField = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

const focusTab = (id: string) => document.getElementById(`tab-${id}`)?.focus();

/** Selects a page by its digit, unless a text field has the focus. */
function useDigits(): void {
  useEffect(() => {
    const choose = (event: KeyboardEvent) => {
      const tab = TABS[Number(event.key) - 1];
      if (!tab || event.ctrlKey || event.metaKey || event.altKey || inField(event.target)) return;
      goTo(tab.id);
      focusTab(tab.id);
    };
    addEventListener('keydown', choose);
    return () => removeEventListener('keydown', choose);
  }, []);
}

const STEPS: Readonly<Record<string, (at: number) => number>> = {
  ArrowRight: (at) => (at + 1) % TABS.length,
  ArrowLeft: (at) => (at + TABS.length - 1) % TABS.length,
  Home: () => 0,
  End: () => TABS.length - 1,
};

function Tabs({ at }: { at: number }) {
  const step = (event: KeyboardEvent) => {
    const tab = TABS[STEPS[event.key]?.(at) ?? -1];
    if (!tab) return;
    event.preventDefault();
    goTo(tab.id);
    focusTab(tab.id);
  };
  return (
    <div class="tabs" role="tablist" aria-label="Pages">
      {TABS.map(({ id, title }, i) => (
        <button
          key={id}
          id={`tab-${id}`}
          type="button"
          role="tab"
          aria-selected={i === at}
          aria-controls="page"
          aria-keyshortcuts={String(i + 1)}
          tabIndex={i === at ? 0 : -1}
          onClick={() => goTo(id)}
          onKeyDown={step}
        >
          {title}
          <span class="key" aria-hidden="true">
            {i + 1}
          </span>
        </button>
      ))}
    </div>
  );
}

/** Access to the console: unknown, a key needed, or open with the server's facts. */
interface Access {
  readonly key: string;
  readonly session?: SessionFacts;
  readonly needsKey?: boolean;
  readonly error?: Error;
}

async function openSession(key: string): Promise<Access> {
  try {
    const { keyed } = await callWith('')<{ keyed: boolean }>('console/access.json');
    if (keyed && !key) return { key, needsKey: true };
    return { key, session: await callWith(key)<SessionFacts>('console/api/session') };
  } catch (error) {
    const { status } = error as ApiError;
    return { key, needsKey: status === 401 || status === 403, error: error as Error };
  }
}

function useAccess() {
  const [access, setAccess] = useState<Access>(() => ({ key: keyStore.read() }));
  const enter = useCallback(async (key: string) => {
    const next = await openSession(key);
    keyStore.write(next.session ? key : '');
    setAccess(next);
  }, []);
  const leave = useCallback((error?: Error) => {
    keyStore.write('');
    setAccess({ key: '', needsKey: true, ...(error ? { error } : {}) });
  }, []);
  useEffect(() => void enter(keyStore.read()), [enter]);
  return { access, enter, leave };
}

function Header({ session, onLeave }: { session: SessionFacts | undefined; onLeave: (() => void) | undefined }) {
  return (
    <header class="masthead">
      <p class="brand">
        Winnow <span>console</span>
      </p>
      {session && (
        <p class="about">
          {session.version} · {session.provider} · {session.hosts} {session.hosts === 1 ? 'host' : 'hosts'}
        </p>
      )}
      <div class="masthead-actions">
        <ThemeButton />
        {onLeave && (
          <button type="button" class="quiet" onClick={onLeave}>
            Forget key
          </button>
        )}
      </div>
    </header>
  );
}

export function App() {
  const { access, enter, leave } = useAccess();
  const [first] = useRoute();
  const call = useMemo(() => callWith(access.key, leave), [access.key, leave]);
  useDigits();
  const at = Math.max(
    0,
    TABS.findIndex(({ id }) => id === first),
  );
  const { id, title, Page } = TABS[at]!;
  useEffect(() => {
    document.title = access.session ? `${title} · Winnow console` : 'Winnow console';
  }, [title, access.session]);
  return (
    <CallContext.Provider value={call}>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <Header session={access.session} onLeave={access.session && access.key ? () => leave() : undefined} />
      {access.session ? (
        <>
          <Tabs at={at} />
          <main id="main" tabIndex={-1}>
            <div id="page" role="tabpanel" aria-labelledby={`tab-${id}`}>
              <Page session={access.session} />
            </div>
          </main>
        </>
      ) : (
        <main id="main" tabIndex={-1}>
          {access.needsKey ? <KeyForm error={access.error} onKey={enter} /> : <Fault error={access.error} />}
        </main>
      )}
    </CallContext.Provider>
  );
}

import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Call, callWith } from './api.ts';

/** Calls with the key of this session. */
export const CallContext = createContext<Call>(callWith(''));
export const useCall = (): Call => useContext(CallContext);

export interface Loaded<T> {
  readonly value?: T;
  readonly error?: Error;
  /** True until the first answer. */
  readonly waiting: boolean;
  reload(): void;
}

/**
 * Loads a path now and, with `everyMs`, again and again while the page is in view. A later failure keeps the value that was there.
 */
export function useData<T>(path: string | undefined, everyMs = 0): Loaded<T> {
  const call = useCall();
  const [state, setState] = useState<{ path?: string; value?: T; error?: Error }>({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (path === undefined) return;
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = (took: number) => {
      // What is dear to answer is asked for less often.
      const wait = Math.max(everyMs, 10 * took);
      if (everyMs > 0 && !gone.signal.aborted)
        timer = setTimeout(() => (document.hidden ? again(took) : void look()), wait);
    };
    const look = async () => {
      const began = performance.now();
      try {
        const value = await call<T>(path, { signal: gone.signal });
        if (!gone.signal.aborted) setState({ path, value });
      } catch (error) {
        if (gone.signal.aborted) return;
        setState((old) => ({ ...(old.path === path ? old : {}), path, error: error as Error }));
      }
      again(performance.now() - began);
    };
    void look();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [call, path, everyMs, round]);
  const reload = useCallback(() => setRound((n) => n + 1), []);
  const current = state.path === path ? state : {};
  return {
    ...(current.value === undefined ? {} : { value: current.value }),
    ...(current.error ? { error: current.error } : {}),
    waiting: current.value === undefined && current.error === undefined,
    reload,
  };
}

/** Work somebody starts by a button: whether it runs, and what went wrong the last time. */
export function useTask() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const run = useCallback(async (work: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    try {
      await work();
    } catch (thrown) {
      setError(thrown as Error);
    } finally {
      setBusy(false);
    }
  }, []);
  return { busy, error, run };
}

/** A part of the address; as it stands if it is no percent-encoding. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The part of the address after `#/`, split at slashes. */
export function useRoute(): readonly string[] {
  // Other fragments lead to a place on the page that is shown.
  const read = () => (location.hash.startsWith('#/') ? location.hash.slice(2).split('/').map(decoded) : undefined);
  const [route, setRoute] = useState<readonly string[]>(() => read() ?? []);
  useEffect(() => {
    const follow = () => setRoute((old) => read() ?? old);
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  return route;
}

export const goTo = (...route: readonly string[]): void => {
  location.hash = `/${route.map(encodeURIComponent).join('/')}`;
};

const THEME = 'winnow-console-theme';
export type Theme = 'system' | 'light' | 'dark';
const isTheme = (text: string | null): text is Theme => text === 'light' || text === 'dark' || text === 'system';

/** Colors: as the system says, unless somebody chose. */
export function useTheme(): readonly [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(() => {
    const kept = localStorage.getItem(THEME);
    return isTheme(kept) ? kept : 'system';
  });
  // Before the browser paints, so that no frame mixes the new label with the old colors.
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(THEME, theme);
  }, [theme]);
  return [theme, setTheme];
}

/** Width of an element in pixels, followed as it changes. */
export function useWidth<E extends Element>(first: number) {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(first);
  // Before the first painting, so that nothing is ever wider than its place.
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const measure = (inside: number) => setWidth(Math.max(120, Math.floor(inside)));
    measure(element.clientWidth);
    const observer = new ResizeObserver(([entry]) => measure(entry!.contentRect.width));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width] as const;
}

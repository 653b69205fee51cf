import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Call, callWith } from './api.ts';

/** Calls the server with the key of this session. */
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
 * Loads a path now and, with `everyMs`, repeatedly while the page is visible. After a failure the last value remains.
 */
export function useData<T>(path: string | undefined, everyMs = 0): Loaded<T> {
  const call = useCall();
  const [state, setState] = useState<{ path?: string; value?: T; error?: Error }>({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (path === undefined) return;
    const unmounted = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = (took: number) => {
      // Slow answers are requested less often.
      const wait = Math.max(everyMs, 10 * took);
      if (everyMs > 0 && !unmounted.signal.aborted)
        timer = setTimeout(() => (document.hidden ? again(took) : void load()), wait);
    };
    const load = async () => {
      const began = performance.now();
      try {
        const value = await call<T>(path, { signal: unmounted.signal });
        if (!unmounted.signal.aborted) setState({ path, value });
      } catch (error) {
        if (unmounted.signal.aborted) return;
        setState((old) => ({ ...(old.path === path ? old : {}), path, error: error as Error }));
      }
      again(performance.now() - began);
    };
    void load();
    return () => {
      unmounted.abort();
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

/** Runs work that a button starts: `busy` while it runs, `error` of the last run. */
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

/** Decodes a part of the address; returns it unchanged if it is no percent-encoding. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Returns the part of the address after `#/`, split at slashes. */
export function useRoute(): readonly string[] {
  // Other fragments name an element of the current page.
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

/** The color scheme: that of the system unless another was chosen. */
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

/** Tracks the width of an element in pixels. */
export function useWidth<E extends Element>(first: number) {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(first);
  // Before the browser paints, so that no frame is wider than its container.
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

import { useState } from 'preact/hooks';
import { Fault } from './parts.tsx';

/** Asks for the admin key. */
export function KeyForm({ error, onKey }: { error: Error | undefined; onKey: (key: string) => Promise<void> }) {
  const [key, setKey] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    await onKey(key.trim());
    setBusy(false);
  };
  return (
    <form class="gate" onSubmit={submit}>
      <h1>Admin key</h1>
      <p class="muted">The console needs a key with the scope admin. It is kept in this tab until you close it.</p>
      <label>
        Key
        <input
          type="password"
          name="key"
          autocomplete="off"
          spellcheck={false}
          required
          value={key}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
      </label>
      <Fault error={error} />
      <button type="submit" class="primary" disabled={busy}>
        Open the console
      </button>
    </form>
  );
}

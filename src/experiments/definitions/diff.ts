/** Returns the leaves of a JSON value by path: `arms.1.weight` → `2`. */
function leaves(value: unknown, path = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null) return new Map([[path, JSON.stringify(value)]]);
  const entries = Object.entries(value);
  if (entries.length === 0) return new Map([[path, Array.isArray(value) ? '[]' : '{}']]);
  return new Map(entries.flatMap(([key, inner]) => [...leaves(inner, path ? `${path}.${key}` : key)]));
}

/** Returns what changed between two definitions, one line a field: `- path: old`, `+ path: new`. Undefined stands for no definition. */
export function diffOf(before: unknown, after: unknown): string {
  const [old, now] = [before, after].map((value) => (value === undefined ? new Map<string, string>() : leaves(value)));
  const lines: string[] = [];
  for (const path of new Set([...old!.keys(), ...now!.keys()])) {
    const [from, to] = [old!.get(path), now!.get(path)];
    if (from === to) continue;
    if (from !== undefined) lines.push(`- ${path}: ${from}`);
    if (to !== undefined) lines.push(`+ ${path}: ${to}`);
  }
  return lines.join('\n');
}

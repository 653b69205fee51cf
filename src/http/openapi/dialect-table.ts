import type { AnyDialect } from '../dialects/dialect.ts';
import { DIALECTS } from '../dialects/dispatch.ts';
import { openApiPath } from './document.ts';

const code = (paths: readonly string[]) => paths.map((path) => `\`${openApiPath(path)}\``).join(', ');

function row({ name, docs, paths, marks }: AnyDialect): string {
  const format = `\`${name}\`: ${docs.title}${docs.clients ? ` (also ${docs.clients})` : ''}`;
  const own = code(paths.map(({ path }) => path)) || '–';
  const elsewhere = marks ? `${marks.text}; at ${code(marks.paths)}` : '–';
  return `| ${format} | ${own} | ${elsewhere} | ${docs.answer} |`;
}

/** Returns the table of wire formats in docs/api.md. */
export function dialectTable(): string {
  const head = '| format | its own paths | recognized at other paths by | answer |\n|---|---|---|---|\n';
  return head + DIALECTS.map((dialect) => `${row(dialect)}\n`).join('');
}

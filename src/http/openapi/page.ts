import { createHash } from 'node:crypto';
import type { OpenApiDocument } from './document.ts';
import { STYLE } from './page-style.ts';

type Json = Readonly<Record<string, unknown>>;

const asObject = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escapeHtml = (text: unknown) => String(text ?? '').replace(/[&<>"']/g, (c) => ENTITIES[c]!);

/** Escapes text and marks up its `code`. */
const prose = (text: unknown) => escapeHtml(text).replace(/`([^`]+)`/g, '<code>$1</code>');

const refName = (schema: Json) =>
  String(schema.$ref ?? '')
    .split('/')
    .at(-1) ?? '';

/** A schema's type in one line, with links to named schemas. */
function typeOf(value: unknown): string {
  const schema = asObject(value);
  if (schema.$ref) return `<a href="#schema-${refName(schema)}">${refName(schema)}</a>`;
  const members = asList(schema.anyOf ?? schema.oneOf);
  if (members.length > 0) return members.map(typeOf).join(' or ');
  if (schema.const !== undefined) return `<code>${escapeHtml(JSON.stringify(schema.const))}</code>`;
  const words = asList(schema.enum);
  if (words.length > 12) return 'one of the codes in docs/errors.md';
  if (words.length > 0) return words.map((word) => `<code>${escapeHtml(JSON.stringify(word))}</code>`).join(' or ');
  const types = [schema.type ?? 'any'].flat() as unknown[];
  return types.map((type) => (type === 'array' ? `array of ${typeOf(schema.items)}` : escapeHtml(type))).join(' or ');
}

function fieldRows(schema: Json): string {
  const required = asList(schema.required);
  return Object.entries(asObject(schema.properties))
    .map(([name, value]) => {
      const must = required.includes(name) ? ' <b>required</b>' : '';
      return `<tr><td><code>${escapeHtml(name)}</code>${must}</td><td>${typeOf(value)}</td><td>${prose(asObject(value).description)}</td></tr>`;
    })
    .join('');
}

function schemaSection([name, value]: [string, unknown]): string {
  const schema = asObject(value);
  const inner = schema.type === 'array' ? asObject(schema.items) : schema;
  const kind = schema.type === 'array' ? '<p>An array of objects:</p>' : '';
  const rows = fieldRows(inner);
  return `<section id="schema-${escapeHtml(name)}"><h3>${escapeHtml(name)}</h3><p>${prose(schema.description)}</p>${
    rows ? `${kind}<div class="scroll"><table><tbody>${rows}</tbody></table></div>` : `<p>${typeOf(schema)}</p>`
  }</section>`;
}

const contentTypes = (answer: Json) =>
  Object.entries(asObject(answer.content))
    .map(([type, media]) =>
      type === 'application/json' ? typeOf(asObject(media).schema) : `<code>${escapeHtml(type)}</code>`,
    )
    .join(', ');

function answerRow([status, value]: [string, unknown]): string {
  const answer = asObject(value);
  return `<tr><td><code>${escapeHtml(status)}</code></td><td>${contentTypes(answer) || 'no body'}</td><td>${prose(answer.description)}</td></tr>`;
}

function operationSection(method: string, path: string, operation: Json): string {
  const body = asObject(operation.requestBody);
  const scope = asList(operation.security).flatMap((entry) => asList(asObject(entry).key))[0];
  const sent = contentTypes(body);
  return `<details id="${escapeHtml(operation.operationId)}"><summary><b class="${method}">${method.toUpperCase()}</b> <code>${escapeHtml(path)}</code> <span>${prose(operation.summary)}</span></summary>
<p>${scope ? `Needs a key with scope <code>${escapeHtml(scope)}</code>, where keys are configured.` : 'Needs no key.'}${sent ? ` Body: ${sent}.` : ''}</p>
<div class="scroll"><table><tbody>${Object.entries(asObject(operation.responses)).map(answerRow).join('')}</tbody></table></div></details>`;
}

function operationsByTag(document: OpenApiDocument): ReadonlyMap<string, readonly string[]> {
  const all = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    Object.entries(asObject(item)).map(([method, operation]) => ({ method, path, operation: asObject(operation) })),
  );
  const grouped = Map.groupBy(all, ({ operation }) => String(asList(operation.tags)[0]));
  return new Map(
    [...grouped].map(([tag, list]) => [tag, list.map((o) => operationSection(o.method, o.path, o.operation))]),
  );
}

function headerRows(headers: unknown): string {
  return Object.entries(asObject(headers))
    .map(([name, value]) => {
      const { schema, description } = asObject(value);
      return `<tr><td><code>${escapeHtml(name)}</code></td><td>${typeOf(schema)}</td><td>${prose(description)}</td></tr>`;
    })
    .join('');
}

/** Renders the API's description as one page; the policy lets browsers load nothing else and run no scripts. */
export function renderPage(document: OpenApiDocument): {
  readonly html: string;
  readonly contentSecurityPolicy: string;
} {
  const groups = [...operationsByTag(document)].map(
    ([tag, operations]) => `<h2>${escapeHtml(tag)}</h2>${operations.join('')}`,
  );
  const schemas = Object.entries(asObject(document.components?.schemas)).map(schemaSection);
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeHtml(document.info.title)} API</title><style>${STYLE}</style></head><body><main>
<h1>${escapeHtml(document.info.title)} API</h1><p>${prose(document.info.description)}</p>
<p>As files: <a href="openapi.yaml">openapi.yaml</a>, <a href="openapi.json">openapi.json</a>.</p>
${groups.join('\n')}
<h2>Headers of scoring requests</h2><div class="scroll"><table><tbody>${headerRows(document.components?.parameters)}</tbody></table></div>
<h2>Headers of their answers</h2><div class="scroll"><table><tbody>${headerRows(document.components?.headers)}</tbody></table></div>
<h2>Schemas</h2>${schemas.join('\n')}
</main></body></html>`;
  const styleHash = createHash('sha256').update(STYLE).digest('base64');
  const contentSecurityPolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  return { html, contentSecurityPolicy };
}

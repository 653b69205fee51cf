import type { RequestHandler } from 'express';
import { buildDocument, documentText } from '../openapi/document.ts';
import { renderPage } from '../openapi/page.ts';
import type { Route } from './route.ts';

/** Makes a value on first use and keeps it. */
function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** The API's description, as files and as a page without scripts or foreign resources. */
export function docsRoutes(): readonly Route[] {
  const document = lazily(buildDocument);
  const yaml = lazily(() => documentText(document()));
  const page = lazily(() => renderPage(document()));
  const handlers: readonly (readonly [string, RequestHandler])[] = [
    ['/openapi.yaml', (_req, res) => void res.type('application/yaml').send(yaml())],
    ['/openapi.json', (_req, res) => void res.json(document())],
    [
      '/docs',
      (_req, res) => {
        const { html, contentSecurityPolicy } = page();
        res.set('content-security-policy', contentSecurityPolicy).type('html').send(html);
      },
    ],
  ];
  return handlers.map(([path, handler]) => ({ method: 'get', path, access: 'public', handler }));
}

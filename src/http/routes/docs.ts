import type { RequestHandler } from 'express';
import { once } from '../../util/once.ts';
import { buildDocument, documentText } from '../openapi/document.ts';
import { renderPage } from '../openapi/page.ts';
import type { Route } from './route.ts';

/** Returns the routes of the API's description: files, and a page without scripts or foreign resources. */
export function docsRoutes(): readonly Route[] {
  const document = once(buildDocument);
  const yaml = once(() => documentText(document()));
  const page = once(() => renderPage(document()));
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
  return handlers.map(([path, handler]) => ({ method: 'get', path, access: 'public', on: 'admin', handler }));
}

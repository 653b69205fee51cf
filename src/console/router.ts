import { existsSync } from 'node:fs';
import { join } from 'node:path';
import express, { type RequestHandler, type Response, Router } from 'express';
import { LoopDelayWatch } from './loop-delay.ts';
import { readPlayground } from './playground.ts';
import type { ConsoleSources, LoadAnswer, VersionAbout } from './types.ts';
import { readAbout } from './version-files.ts';

/** What `npm run build:console` writes; the same place seen from src/console/ and from dist/console/. */
const PAGE = join(import.meta.dirname, '../../dist/console/page');

/** Everything the page loads comes from this server, and nothing runs that is not in its files. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const guard: RequestHandler = (_req, res, next) => {
  res.set({ 'content-security-policy': POLICY, 'referrer-policy': 'no-referrer', 'cache-control': 'no-cache' });
  next();
};

const notBuilt: RequestHandler = (_req, res) => {
  res.status(503).type('text/plain').send('The console is not built. Run `npm run build:console` and reload.\n');
};

/** Vite names these by their content. */
function keepForever(res: Response, path: string): void {
  if (path.includes('/assets/')) res.set('cache-control', 'public, max-age=31536000, immutable');
}

/**
 * The page itself and whether it has to ask for a key. Public: there is no secret in it. Its policy replaces the one of the other routes.
 * @param page folder of the built page; where `npm run build:console` puts it unless given.
 */
export function consolePage(sources: Pick<ConsoleSources, 'keyed'>, page: string = PAGE): Router {
  const router = Router();
  router.use(guard);
  router.get('/access.json', (_req, res) => {
    res.json({ keyed: sources.keyed });
  });
  router.use(express.static(page, { setHeaders: keepForever }));
  // Looked at now and not at the start: the page may be built while the server runs.
  router.get('/', (req, res, next) => (existsSync(join(page, 'index.html')) ? next() : notBuilt(req, res, next)));
  return router;
}

const text = (value: string | string[] | undefined): string => (typeof value === 'string' ? value : '');

/** Aborts when the client goes away before it has its answer. */
function goneSignal(res: Response): AbortSignal {
  const gone = new AbortController();
  res.once('close', () => {
    if (!res.writableFinished) gone.abort();
  });
  return gone.signal;
}

/** The console's own data. Mount it behind the admin key, with JSON bodies parsed. */
export function consoleApi(sources: ConsoleSources): Router {
  const router = Router();
  const delay = new LoopDelayWatch();
  router.use(guard);
  router.get('/session', (_req, res) => {
    res.json(sources.session());
  });
  router.get('/load', async (_req, res) => {
    const answer: LoadAnswer = { ...(await sources.load()), loop: delay.look() };
    res.json(answer);
  });
  router.get('/models/:model/:version', async (req, res) => {
    const folder = sources.folderOf(text(req.params.model), text(req.params.version));
    const about: VersionAbout = await readAbout(folder);
    res.json(about);
  });
  router.post('/rerank', async (req, res) => {
    const requestId = String(res.getHeader('x-request-id') ?? 'console');
    res.json(await sources.rerank({ ...readPlayground(req.body), requestId, signal: goneSignal(res) }));
  });
  return router;
}

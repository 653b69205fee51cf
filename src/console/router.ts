import { existsSync } from 'node:fs';
import { join } from 'node:path';
import express, { type RequestHandler, type Response, Router } from 'express';
import { LoopDelayWatch } from './loop-delay.ts';
import { readPlayground } from './playground.ts';
import type { ConsoleSources, LoadAnswer, VersionAbout } from './types.ts';
import { readAbout } from './version-files.ts';

/** Output of `npm run build:console`; the path is right from src/console/ and from dist/console/. */
const PAGE = join(import.meta.dirname, '../../dist/console/page');

/** The page loads everything from this server, and runs no inline code. */
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

const setPolicy: RequestHandler = (_req, res, next) => {
  res.set({ 'content-security-policy': POLICY, 'referrer-policy': 'no-referrer', 'cache-control': 'no-cache' });
  next();
};

const notBuilt: RequestHandler = (_req, res) => {
  res.status(503).type('text/plain').send('The console is not built. Run `npm run build:console` and reload.\n');
};

/** Lets browsers cache assets, whose names contain a hash of their content. */
function cacheAssets(res: Response, path: string): void {
  if (path.includes('/assets/')) res.set('cache-control', 'public, max-age=31536000, immutable');
}

/**
 * Creates the router of the page and of `access.json`, which says whether the page has to ask for a key. Both are public and contain no
 * secret. The page's policy replaces that of the other routes.
 * @param page folder of the built page; default the output of `npm run build:console`.
 */
export function consolePage(sources: Pick<ConsoleSources, 'keyed'>, page: string = PAGE): Router {
  const router = Router();
  router.use(setPolicy);
  router.get('/access.json', (_req, res) => {
    res.json({ keyed: sources.keyed });
  });
  router.use(express.static(page, { setHeaders: cacheAssets }));
  // Checked per request, because the page may be built while the server runs.
  router.get('/', (req, res, next) => (existsSync(join(page, 'index.html')) ? next() : notBuilt(req, res, next)));
  return router;
}

const text = (value: string | string[] | undefined): string => (typeof value === 'string' ? value : '');

/** Returns a signal that aborts when the client disconnects before it has its answer. */
function disconnectSignal(res: Response): AbortSignal {
  const gone = new AbortController();
  res.once('close', () => {
    if (!res.writableFinished) gone.abort();
  });
  return gone.signal;
}

/** Creates the router of the console's data. Mount it behind scope `admin`, with JSON bodies parsed. */
export function consoleApi(sources: ConsoleSources): Router {
  const router = Router();
  const delay = new LoopDelayWatch();
  router.use(setPolicy);
  router.get('/session', (_req, res) => {
    res.json(sources.session());
  });
  router.get('/load', async (_req, res) => {
    const answer: LoadAnswer = { ...(await sources.load()), loop: delay.read() };
    res.json(answer);
  });
  router.get('/models/:model/:version', async (req, res) => {
    const folder = sources.folderOf(text(req.params.model), text(req.params.version));
    const about: VersionAbout = await readAbout(folder);
    res.json(about);
  });
  router.post('/rerank', async (req, res) => {
    const requestId = String(res.getHeader('x-request-id') ?? 'console');
    res.json(await sources.rerank({ ...readPlayground(req.body), requestId, signal: disconnectSignal(res) }));
  });
  return router;
}

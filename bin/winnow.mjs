#!/usr/bin/env node
// A checkout runs its sources, from which Node strips the types. An installed package or image has dist/ only.
import { existsSync, readdirSync, readFileSync, rmdirSync, symlinkSync } from 'node:fs';
import nodeModule from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// A server reloads at SIGHUP. Until it can, the signal must not end the process either.
if (process.argv[2] === 'serve') process.on('SIGHUP', () => {});

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const [major, minor] = process.versions.node.split('.').map(Number);
const [needed, atLeast] = engines.node.replace('>=', '').split('.').map(Number);
if (major < needed || (major === needed && minor < atLeast)) {
  process.stderr.write(
    `winnow: expected Node ${engines.node}, got ${process.version}; run \`npx winnow …\` or \`npm start\`, which use the Node that npm ci installs\n`,
  );
  process.exit(2);
}

// Keeps compiled code for the next start and for child processes: it halves the time until a server is ready.
const shipped = fileURLToPath(new URL('../compile-cache', import.meta.url));
const { directory } = enableCache(process.env);
if (directory && !process.env.NODE_COMPILE_CACHE) process.env.NODE_COMPILE_CACHE = directory;
useShipped(nodeModule.getCompileCacheDir());

/** In an image the folder for caches may be a volume, which the folder for temporary files is not. */
function enableCache({ XDG_CACHE_HOME, NODE_COMPILE_CACHE }) {
  const kept = existsSync(shipped) && XDG_CACHE_HOME && existsSync(XDG_CACHE_HOME) && !NODE_COMPILE_CACHE;
  const enabled = kept ? nodeModule.enableCompileCache(join(XDG_CACHE_HOME, 'compiled')) : {};
  return enabled.directory ? enabled : nodeModule.enableCompileCache();
}

/**
 * Puts the image's compiled code where Node looks for it. Node names that folder by processor features and user, which an image cannot know;
 * code from another processor of the same architecture is as good.
 */
function useShipped(folder) {
  if (!folder || !existsSync(shipped)) return;
  try {
    if (readdirSync(shipped).length === 0) return;
    rmdirSync(folder);
    symlinkSync(shipped, folder);
  } catch {
    // It has entries already, another process was first, or nothing can be read there: then code is compiled.
  }
}

const source = new URL('../src/cli/winnow.ts', import.meta.url);
await import(existsSync(fileURLToPath(source)) ? source.href : new URL('../dist/cli/winnow.js', import.meta.url).href);

#!/usr/bin/env node
// A checkout runs its sources, from which Node strips the types. An installed package or image has dist/ only.
import { existsSync, readFileSync } from 'node:fs';
import nodeModule from 'node:module';
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
nodeModule.enableCompileCache();
const cache = nodeModule.getCompileCacheDir();
if (cache && !process.env.NODE_COMPILE_CACHE) process.env.NODE_COMPILE_CACHE = cache;

const source = new URL('../src/cli/winnow.ts', import.meta.url);
await import(existsSync(fileURLToPath(source)) ? source.href : new URL('../dist/cli/winnow.js', import.meta.url).href);

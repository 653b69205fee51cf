#!/usr/bin/env node
// In a checkout the sources run as they are (Node strips the types); an installed package or image has dist/ only.
import { existsSync } from 'node:fs';
import { enableCompileCache, getCompileCacheDir } from 'node:module';
import { fileURLToPath } from 'node:url';

// Compiled code is kept from start to start, also that of the processes begun from here: it halves the time until a server is ready.
enableCompileCache();
const cache = getCompileCacheDir();
if (cache && !process.env.NODE_COMPILE_CACHE) process.env.NODE_COMPILE_CACHE = cache;

const source = new URL('../src/cli/winnow.ts', import.meta.url);
await import(existsSync(fileURLToPath(source)) ? source.href : new URL('../dist/cli/winnow.js', import.meta.url).href);

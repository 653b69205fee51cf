#!/usr/bin/env node
// In a checkout the sources run as they are (Node strips the types); an installed package or image has dist/ only.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const source = new URL('../src/cli/winnow.ts', import.meta.url);
await import(existsSync(fileURLToPath(source)) ? source.href : new URL('../dist/cli/winnow.js', import.meta.url).href);

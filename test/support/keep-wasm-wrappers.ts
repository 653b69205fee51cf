/**
 * Node strips types with a WebAssembly module. After 1,000 calls of one of its imports V8 13.6 compiles the wrapper of that import anew and
 * frees the former one; where several threads of a process strip types that has ended the process
 * ("Check failed: jit_page.has_value()", from `Runtime_TierUpWasmToJSWrapper`). Wrappers that are never compiled anew are not freed.
 * Threads of a test load sources in this way; an installed package holds JavaScript.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--wasm-wrapper-tiering-budget=1000000000');

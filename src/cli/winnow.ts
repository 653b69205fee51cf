import { surviveClosedOutput } from './closed-output.ts';
import { runWinnow } from './run-winnow.ts';

surviveClosedOutput();
// A command that ran may have set its own exit code: a check that failed ends with 1.
const code = await runWinnow(process.argv);
if (code !== 0) process.exitCode = code;

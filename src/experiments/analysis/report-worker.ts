import { parentPort, workerData } from 'node:worker_threads';
import { WinnowError } from '../../errors.ts';
import type { ExperimentStore } from '../records.ts';
import { openStore } from '../store/store.ts';
import { inThisThread, type ReportCall, type ReportReply, type ReportThreadData } from './report-runner.ts';

const { target, options } = workerData as ReportThreadData;

let opening: Promise<ExperimentStore> | undefined;

/** The thread's own connection; a failed opening is tried again. */
function store(): Promise<ExperimentStore> {
  const forget = () => {
    opening = undefined;
  };
  opening ??= openStore(target, { ...options, readApart: false, onLost: forget }).catch((error: unknown) => {
    forget();
    throw error;
  });
  return opening;
}

const runner = inThisThread(store);

async function answer(call: ReportCall): Promise<ReportReply> {
  const { id, experiment } = call;
  try {
    const { kind, options } = call;
    return {
      id,
      value: await (kind === 'report' ? runner.report(experiment, options) : runner.series(experiment, options)),
    };
  } catch (error) {
    if (error instanceof WinnowError)
      return { id, error: error.message, fault: { code: error.code, params: error.params } };
    const { message, code } = error as { message: string; code?: unknown };
    return { id, error: message, ...(typeof code === 'string' ? { code } : {}) };
  }
}

parentPort!.on('message', async (call: ReportCall) => {
  parentPort!.postMessage(await answer(call));
});

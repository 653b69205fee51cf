import { hostSettings, serveHost } from './host-loop.ts';
import { chooseProvider } from './providers.ts';
import { SessionTable } from './session-table.ts';

/* The child process that owns ONNX sessions. */

const settings = hostSettings();
const { provider: setting, threads, device } = settings;
await serveHost(settings, async () => {
  const provider = await chooseProvider(setting, device);
  return { provider, engine: new SessionTable({ provider, threads, device }) };
});

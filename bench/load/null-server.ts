import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config/load-config.ts';
import { handleFaults, handleSignals } from '../../src/main/process.ts';
import { startServer } from '../../src/main/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

/* `winnow serve` with hosts that have no engine. */

const config = loadConfig(process.argv.slice(2), process.env);
const logger = createLogger(config.telemetry.logLevel);
handleFaults(logger);
const hostProgram = fileURLToPath(new URL('./null-host.ts', import.meta.url));
handleSignals(await startServer(config, logger, { hostProgram }), logger);

import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config/load-config.ts';
import { handleFaults, handleSignals } from '../../src/main/process.ts';
import { startServer } from '../../src/main/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { watchOwnDelay } from './own-delay.ts';

/* `winnow serve` with hosts that have no engine. On SIGUSR2 it logs how long its own work delayed the event loop since the last time. */

const config = loadConfig(process.argv.slice(2), process.env);
const logger = createLogger(config.telemetry.logLevel);
handleFaults(logger);
const readDelay = watchOwnDelay();
process.on('SIGUSR2', () => logger.info(readDelay(), 'own delay'));
const hostProgram = fileURLToPath(new URL('./null-host.ts', import.meta.url));
handleSignals(await startServer(config, logger, { hostProgram }), logger);

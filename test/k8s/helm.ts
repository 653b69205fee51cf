import { spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Returns Helm, or undefined where there is none. `GOBIN=~/.cache/winnow-helm go install helm.sh/helm/v3/cmd/helm@v3.22.0` makes one where no
 * package has it.
 */
export const findHelm = (): string | undefined =>
  [process.env.HELM ?? 'helm', join(homedir(), '.cache/winnow-helm/helm')].find(
    (program) => spawnSync(program, ['version'], { stdio: 'ignore' }).status === 0,
  );

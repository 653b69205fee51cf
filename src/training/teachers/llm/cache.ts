import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../util/files.ts';
import { readJsonFile } from '../../../util/json-files.ts';
import type { ChatClient, Completion } from './client.ts';

/**
 * Stores answers on disk under a hash of the messages, so that no request is paid for twice. A file that does not parse counts as absent.
 * @param salt what else decides the answer: model, temperature.
 * @param onFresh receives answers that came from the endpoint.
 */
export function cached(
  client: ChatClient,
  folder: string,
  salt: string,
  onFresh: (answer: Completion) => void,
): ChatClient {
  return {
    async complete(messages) {
      const hash = createHash('sha256')
        .update(JSON.stringify([salt, messages]))
        .digest('hex');
      const file = join(folder, hash.slice(0, 2), `${hash}.json`);
      const known = (await readJsonFile(file).catch(() => undefined)) as Completion | undefined;
      if (typeof known?.text === 'string') return known;
      const answer = await client.complete(messages);
      await writeFileAtomic(file, JSON.stringify(answer));
      onFresh(answer);
      return answer;
    },
  };
}

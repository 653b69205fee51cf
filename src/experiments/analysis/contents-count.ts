import { parseJson } from '../../util/parse-json.ts';
import type { ArmContent, ExposureFact } from '../records.ts';
import { inContentOrder } from '../store/reads.ts';

interface Span {
  requests: number;
  firstAt: number;
  lastAt: number;
}

/** Counts exposure by exposure which versions answered for each arm, with the figures of `ExperimentStore.contents`. */
export class ContentsCount {
  readonly #spans = new Map<string, { readonly fact: ExposureFact; readonly span: Span }>();

  add(exposures: readonly ExposureFact[]): void {
    for (const fact of exposures) {
      const key = `${fact.arm} ${fact.mode} ${fact.configHash} ${fact.models}`;
      const known = this.#spans.get(key);
      if (!known) {
        this.#spans.set(key, { fact, span: { requests: 1, firstAt: fact.at, lastAt: fact.at } });
        continue;
      }
      known.span.requests++;
      known.span.firstAt = Math.min(known.span.firstAt, fact.at);
      known.span.lastAt = Math.max(known.span.lastAt, fact.at);
    }
  }

  contents(): readonly ArmContent[] {
    return [...this.#spans.values()]
      .map(({ fact: { arm, mode, configHash, models }, span }) => ({
        arm,
        mode,
        configHash,
        models: parseJson(models) as Readonly<Record<string, string>>,
        ...span,
      }))
      .sort(inContentOrder);
  }
}

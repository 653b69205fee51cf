import type { FirstStage } from '../../evaluation/first-stage/first-stage.ts';
import { TopK } from '../../evaluation/first-stage/top-k.ts';
import type { Passage } from '../../evaluation/formats/passage-store.ts';
import type { ScoredDocs } from '../../evaluation/measures/evaluation.ts';
import type { BiEncoder } from './bi-encoder.ts';

/** Texts embedded at once, of like length. */
const SLICE = 256;

/**
 * Embeds texts in slices of like length, so that batches have little padding and an interruption costs one slice.
 * @param onDone receives the number of texts that have a vector.
 * @returns one vector a text, in the order of the texts.
 */
export async function embedSliced(
  encoder: Pick<BiEncoder, 'embed'>,
  texts: readonly string[],
  side: 'query' | 'passage',
  onDone?: (texts: number) => void,
): Promise<Float32Array[]> {
  const vectors = new Array<Float32Array>(texts.length);
  const order = [...texts.keys()].sort((a, b) => texts[a]!.length - texts[b]!.length);
  for (let at = 0; at < order.length; at += SLICE) {
    const places = order.slice(at, at + SLICE);
    const found = await encoder.embed(
      places.map((place) => texts[place]!),
      side,
    );
    places.forEach((place, i) => {
      vectors[place] = found[i]!;
    });
    onDone?.(Math.min(order.length, at + SLICE));
  }
  return vectors;
}

/** Returns the places of the `depth` vectors that are nearest to a query, best first, with their cosines; of equal ones the earlier. */
function nearest(query: Float32Array, vectors: Float32Array, depth: number): ReturnType<TopK['drain']> {
  const width = query.length;
  const best = new TopK(depth);
  for (let place = 0, at = 0; at < vectors.length; place++, at += width) {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += query[i]! * vectors[at + i]!;
    best.add(place, sum);
  }
  return best.drain();
}

/**
 * Makes a first stage of a sentence encoder: every passage is compared with the query. Memory is 4 bytes a number of all vectors.
 * @param onDone receives the number of passages that are embedded.
 */
export async function encoderStage(
  encoder: Pick<BiEncoder, 'embed' | 'name'>,
  passages: AsyncIterable<Passage> | Iterable<Passage>,
  onDone?: (passages: number) => void,
): Promise<FirstStage> {
  const ids: string[] = [];
  const texts: string[] = [];
  for await (const { id, text } of passages) {
    ids.push(id);
    texts.push(text);
  }
  const found = await embedSliced(encoder, texts, 'passage', onDone);
  const width = found[0]?.length ?? 0;
  const vectors = new Float32Array(width * ids.length);
  found.forEach((vector, place) => {
    vectors.set(vector, place * width);
  });
  return {
    name: encoder.name,
    async retrieve(queries, depth, onQueries) {
      const run = new Map<string, ScoredDocs>();
      const embedded = await embedSliced(encoder, [...queries.values()], 'query');
      for (const [i, qid] of [...queries.keys()].entries()) {
        const best = nearest(embedded[i]!, vectors, depth);
        run.set(qid, { docids: Array.from(best.passages, (place) => ids[place]!), scores: Array.from(best.scores) });
        onQueries?.(run.size);
      }
      return run;
    },
  };
}

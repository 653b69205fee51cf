import { z } from 'zod';
import { WinnowError } from '../../errors.ts';
import type { TokensAnswer } from '../../rerank/text-tokens.ts';
import { checkCount, commonFields, textAt } from '../dialects/fields.ts';
import { ignoredFields } from '../dialects/ignored.ts';
import { flag } from '../dialects/scalars.ts';
import { exchangeOf } from '../exchange.ts';
import { parseOrRefuse } from '../faults.ts';
import { type JsonText, writeJson } from '../json/text.ts';
import { spendPassages } from '../middleware/rate-limit.ts';
import type { MinuteBudget } from '../minute-budget.ts';
import type { HttpDeps } from '../ports.ts';
import { deadlineOf } from '../request-headers.ts';
import { repairTexts } from '../text-repair.ts';
import type { Route } from './route.ts';
import { sendPieces } from './send-pieces.ts';

/** The most tokens of an answer, special ones not counted: about 6 MB of JSON. */
const MOST_TOKENS = 100_000;

const isInputs = (value: unknown): value is string | readonly unknown[] =>
  typeof value === 'string' || Array.isArray(value);

export const tokenizeRequest = z
  .object({
    inputs: z.custom<string | readonly unknown[]>(isInputs, { error: 'a string or an array of strings' }).meta({
      description: `Texts, of ${MOST_TOKENS} tokens together at most.`,
      type: ['string', 'array'],
      anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1 }],
    }),
    add_special_tokens: flag('false: without the special tokens that stand around a text.'),
    prompt_name: z
      .custom<null>((value) => value === null, { error: 'null, because models here have no prompts' })
      .optional()
      .meta({ description: 'Models here have no prompts.', type: 'null' }),
    model: commonFields.model,
  })
  .meta({ id: 'TokenizeRequest' });

const token = z.object({
  id: z.number().int().min(0),
  text: z.string().meta({ description: 'From the vocabulary, without its marks (`##`, `▁`).' }),
  special: z.boolean().meta({ description: 'Whether it stands around the text, not in it.' }),
  start: z.null().meta({ description: 'Offsets are not known.' }),
  stop: z.null(),
});

export const tokenizeAnswer = z
  .array(z.array(token))
  .meta({ id: 'TokenizeAnswer', description: 'A list for each text, in the order sent; one list for a text alone.' });

type TextTokens = TokensAnswer['texts'][number];

function* tokensOf({ ids, before, after }: TextTokens, spelling: TokensAnswer['spelling']): Generator<string> {
  yield '[';
  for (const [i, id] of ids.entries()) {
    const special = i < before || i >= ids.length - after;
    const text = JSON.stringify(spelling.get(id) ?? '');
    yield `${i > 0 ? ',' : ''}{"id":${id},"text":${text},"special":${special},"start":null,"stop":null}`;
  }
  yield ']';
}

const answerText = ({ texts, spelling }: TokensAnswer): JsonText => ({
  head: '[',
  count: texts.length,
  item: (i) => tokensOf(texts[i]!, spelling),
  tail: ']',
});

/** Returns the texts of a body. @throws WinnowError `empty_passages`, `too_many_passages`, `invalid_field` naming the text. */
function textsIn(inputs: string | readonly unknown[], deps: HttpDeps): readonly string[] {
  if (typeof inputs === 'string') return [inputs];
  checkCount(inputs.length, 'inputs', { maxPassages: deps.options.maxPassages });
  return inputs.map((text, i) => textAt(text, `inputs[${i}]`));
}

/** Returns a refusal of the texts as a whole with the name that the client gave them. */
function withSentName(error: unknown): unknown {
  if (!(error instanceof WinnowError) || error.params.field !== 'texts') return error;
  return new WinnowError(error.code, { ...error.params, field: 'inputs' }, { cause: error });
}

/** `POST /tokenize` of Text Embeddings Inference: the tokens of texts as the served model reads them. */
export function tokenizeRoute(deps: HttpDeps, budget: MinuteBudget): Route {
  return {
    method: 'post',
    path: '/tokenize',
    access: 'rerank',
    body: 'json',
    async handler(req, res) {
      const { signal } = exchangeOf(res);
      const body = parseOrRefuse(tokenizeRequest, req.body);
      const sent = textsIn(body.inputs, deps);
      spendPassages(budget, res, sent.length);
      const { requests, changed } = await repairTexts([{ query: '', passages: sent }]);
      const answer = await deps.tokenReader
        .tokens({
          texts: requests[0]!.passages,
          special: body.add_special_tokens ?? true,
          atMost: MOST_TOKENS,
          deadlineMs: deadlineOf(req) ?? deps.options.requestTimeoutMs,
          signal,
          ...(body.model ? { model: deps.registry.canonical(body.model) } : {}),
        })
        .catch((error: unknown) => {
          throw withSentName(error);
        });
      const ignored = ignoredFields(tokenizeRequest, req.body);
      const pieces = await writeJson(answerText(answer));
      if (signal.aborted) return;
      res.type('application/json').set({
        'x-winnow-model': `${answer.model}@${answer.version}`,
        ...(ignored.length > 0 ? { 'x-winnow-ignored': ignored.join(', ') } : {}),
        ...(changed > 0 ? { 'x-winnow-repaired': String(changed) } : {}),
      });
      sendPieces(res, deps, pieces);
    },
  };
}

import { z } from 'zod';

/*
 * The instruction of a request, under the names that clients have for it: `instruction` (LiteLLM, mixedbread, vLLM), `instruct` (DashScope) and
 * `chat_template_kwargs.instruction` (vLLM).
 */

const instruction = (description: string) => z.string().max(10_000).nullish().meta({ description });

/** Fields of every body. */
export const instructionFields = {
  instruction: instruction(
    'What the model looks for, in place of its own instruction; for models with a template, such as Qwen3-Reranker.',
  ),
  instruct: instruction('DashScope: another name for `instruction`.'),
  chat_template_kwargs: z
    .object({ instruction: instruction('vLLM: another name for `instruction` of the body.') })
    .nullish()
    .meta({ description: 'vLLM: arguments of the chat template, of which `instruction` is read.' }),
};

type Told = { readonly [K in keyof typeof instructionFields]?: z.infer<(typeof instructionFields)[K]> };

/** Returns the instructions of a body by field, the one that counts first. */
const toldIn = ({ instruction: own, instruct, chat_template_kwargs: chat }: Told) =>
  Object.entries({ instruction: own, instruct, 'chat_template_kwargs.instruction': chat?.instruction }).flatMap(
    ([field, text]) => (text ? [{ field, text }] : []),
  );

/** Returns the instruction and where the body has it. */
export function instructionOptions(
  body: Told,
  before: string,
): { readonly instruction?: string; readonly instructionField?: string } {
  const [first] = toldIn(body);
  return first ? { instruction: first.text, instructionField: before + first.field } : {};
}

/** Returns the fields whose instruction another one overrules. */
export function overruledInstructions(body: Told): readonly string[] {
  const [first, ...others] = toldIn(body);
  return others.filter(({ text }) => text !== first?.text).map(({ field }) => field);
}

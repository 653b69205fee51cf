import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readChatTemplate } from '../../src/util/chat-template.ts';
import { MXBAI_RERANK_V2, QWEN3_RERANKER, type TemplateFiles, templateOf } from '../../src/util/known-templates.ts';
import { rowTexts, templateSchema } from '../../src/util/text-template.ts';

const QWEN3 = QWEN3_RERANKER.template;
const TASK = 'Given a web search query, retrieve relevant passages that answer the query';

const whole = (texts: ReturnType<typeof rowTexts>, passage: string) =>
  [texts.prefix, texts.before, texts.query, texts.middle, texts.space, passage, texts.after, texts.suffix].join('');

describe('the texts of a row', () => {
  it('are together the template with everything filled in', () => {
    const text = fc.string({ maxLength: 20 });
    fc.assert(
      fc.property(text, text, text, (query, passage, instruction) => {
        const filled = `<Instruct>: ${instruction || TASK}\n<Query>: ${query}\n<Document>: ${passage}`;
        expect(whole(rowTexts(QWEN3, query, instruction), passage)).toBe(QWEN3.prefix + filled + QWEN3.suffix);
      }),
    );
  });

  it('give the space before a placeholder to what follows it', () => {
    expect(rowTexts(QWEN3, 'flea', undefined)).toMatchObject({
      before: `<Instruct>: ${TASK}\n<Query>:`,
      query: ' flea',
      middle: '\n<Document>:',
      space: ' ',
      after: '',
    });
  });

  it('leave the line of the instruction out where there is none', () => {
    const { template } = MXBAI_RERANK_V2;
    expect(rowTexts(template, 'flea', undefined).before).toBe('query:');
    expect(rowTexts(template, 'flea', '').before).toBe('query:');
    expect(rowTexts(template, 'flea', 'be $1 strict').before).toBe('instruction: be $1 strict\nquery:');
    const inLine = templateSchema.parse({ body: '{instruction} {query}\n{document}' });
    expect(rowTexts(inLine, 'flea', undefined)).toMatchObject({ before: '', query: expect.stringMatching(/^ ?flea$/) });
  });

  it.each([
    ['{query}', /\{query\} and \{document\} once each/],
    ['{document} {query}', /before \{document\}/],
    ['{query} {document} {instruction}', /before \{document\}/],
    ['{query} {query} {document}', /once each/],
  ])('need placeholders in order: %s', (body, message) => {
    expect(templateSchema.safeParse({ body }).error?.issues[0]?.message).toMatch(message);
  });
});

describe('chat templates', () => {
  const role = (name: string) =>
    `{{ messages | selectattr("role", "eq", "${name}") | map(attribute="content") | first }}`;
  const task = `{{ messages | selectattr("role", "eq", "system") | map(attribute="content") | first | default("${TASK}") }}`;

  it('of re-rankers are read', () => {
    const source = `${QWEN3.prefix}<Instruct>: ${task}\n<Query>: ${role('query')}\n<Document>: ${role('document')}${QWEN3.suffix}`;
    expect(readChatTemplate(source)).toEqual({ ...QWEN3, suffix: QWEN3.suffix.replace(/\n$/, '') });
    expect(readChatTemplate(`${source}\n`)).toEqual(QWEN3);
  });

  it('follow dashes and comments', () => {
    expect(
      readChatTemplate(
        `{# a comment #}Q:  {{- messages | selectattr('role', 'eq', 'query') -}}  D: ${role('document')}.`,
      ),
    ).toEqual({ prefix: '', body: 'Q:{query}D: {document}', suffix: '.' });
  });

  it('keep the place of an instruction that nothing states', () => {
    const source = `Task: ${role('system')}\nQ: ${role('query')}\nD: ${role('document')}`;
    const template = readChatTemplate(source)!;
    expect(template.instruction).toBe('');
    expect(rowTexts(template, 'q', undefined).before).toBe('Task: \nQ:');
  });

  it.each([
    [`{%- for m in messages %}${role('query')}${role('document')}{%- endfor %}`, /got the statement \{%- for/],
    [`${role('query')} ${role('document').replace('first', 'first | trim')}`, /got \{\{ messages/],
    [`${role('query')} ${role('document')} {{ eos_token }}`, /got \{\{ eos_token \}\}/],
    [`${role('document')} ${role('query')}`, /in another order/],
    [`${role('query')} ${role('document').replace('first', 'first | default("x")')}`, /got \{\{ messages/],
  ])('that need a program are refused: %s', (source, message) => {
    expect(() => readChatTemplate(source)).toThrow(message);
  });

  it.each([
    '{%- for message in messages %}{{ message.content }}{%- endfor %}',
    '{{ bos_token }}{{ messages[0].content }}',
    `${role('query')} only`,
  ])('of conversations are not: %s', (source) => {
    expect(readChatTemplate(source)).toBeUndefined();
  });
});

describe('the template of a folder', () => {
  const files = (more: Partial<TemplateFiles>): TemplateFiles => ({
    stated: {},
    config: { model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'] },
    tokenizerConfig: {},
    settings: {},
    moduleSettings: {},
    modules: undefined,
    chatTemplate: undefined,
    names: ['models', 'x', '1'],
    ...more,
  });
  const chat = `Query: {{ messages["query"] }}\nText: {{ messages["document"] }}`;

  it('is none where sentence-transformers gives pairs of texts and no messages', () => {
    const modes = (...names: readonly string[]) => ({
      modality_config: Object.fromEntries(names.map((name) => [name, { method: 'forward' }])),
    });
    expect(templateOf(files({ moduleSettings: modes('text') }))).toBeUndefined();
    expect(templateOf(files({ moduleSettings: modes('text', 'message') }))).toBeDefined();
    const stated = { template: { prefix: '', body: '{query}{document}', suffix: '' } };
    expect(templateOf(files({ moduleSettings: modes('text'), stated }))?.origin).toBe('model.json');
  });

  it('is known by family and name', () => {
    expect(templateOf(files({}))).toEqual({
      ...QWEN3_RERANKER,
      origin: 'assumed',
      isLanguageModel: true,
      namesTokens: true,
    });
    expect(templateOf(files({ config: { model_type: 'qwen3' } }))).toEqual({
      ...QWEN3_RERANKER,
      origin: 'family',
      isLanguageModel: false,
      namesTokens: false,
    });
    for (const name of ['mxbai-rerank-base-v2', 'models--mixedbread-ai--mxbai-rerank-large-v2'])
      expect(templateOf(files({ names: [name] }))).toMatchObject({ ...MXBAI_RERANK_V2, origin: 'name' });
    expect(templateOf(files({ config: { model_type: 'bert' }, names: ['mxbai-rerank-base-v1'] }))).toBeUndefined();
  });

  it('is that of model.json before all others, and of the chat template before the family', () => {
    const template = { prefix: 'a', body: '{query} {document}', suffix: 'b' };
    expect(templateOf(files({ stated: { template, trueToken: 'ja' }, chatTemplate: chat }))).toEqual({
      template,
      trueToken: 'ja',
      falseToken: 'no',
      origin: 'model.json',
      isLanguageModel: true,
      namesTokens: true,
    });
    expect(templateOf(files({ stated: { template: 'pair' } }))).toBeUndefined();
    const told = templateOf(files({ stated: { instruction: 'Find code.' } }))!.template;
    expect(told).toEqual({ ...QWEN3, instruction: 'Find code.' });
    const found = templateOf(files({ chatTemplate: chat, names: ['mxbai-rerank'] }));
    expect(found).toMatchObject({ origin: 'chat template', trueToken: '1', template: { suffix: '' } });
    expect(templateOf(files({ tokenizerConfig: { chat_template: chat } }))).toMatchObject({ origin: 'chat template' });
    expect(templateOf(files({ config: { model_type: 'bert' }, chatTemplate: chat }))).toBeUndefined();
  });

  it('takes the default prompt of sentence-transformers as its instruction', () => {
    const settings = { prompts: { web: 'Find pages.' }, default_prompt_name: 'web' };
    const withTask = `Task: {{ messages["system"] | default("None.") }}\n${chat}`;
    expect(templateOf(files({ chatTemplate: withTask }))?.template.instruction).toBe('None.');
    expect(templateOf(files({ chatTemplate: withTask, settings }))?.template.instruction).toBe('Find pages.');
  });
});

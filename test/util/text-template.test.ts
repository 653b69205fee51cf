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
    [`{%- for m in messages %}${role('query')}${role('document')}{%- endfor %}`, /got query, document or system twice/],
    [`${role('query')} ${role('document')} again: ${role('query')}`, /got query, document or system twice/],
    [`${role('query')} ${role('document').replace('first', 'first | trim')}`, /got \{\{ messages/],
    [`${role('query')} ${role('document')} {{ eos_token }}`, /got \{\{ eos_token \}\}/],
    [`${role('document')} ${role('query')}`, /in another order/],
    [`${role('query')} ${role('document').replace('first', 'first | default("x")')}`, /got \{\{ messages/],
  ])('that need a program are refused: %s', (source, message) => {
    expect(() => readChatTemplate(source)).toThrow(message);
  });

  describe('with statements', () => {
    const looping = (inside: string, query = 'm.content') =>
      `{%- for m in messages %}${inside}{%- if m.role == 'query' %}query: {{ ${query} }}\n{%- elif m["role"] == 'document' %}\ndocument: {{ m.content }}{%- endif %}{%- endfor %}`;
    const system = `{%- if m.role == 'system' %}task: {{ m.content }}\n{% endif %}`;
    const whole = 'query: {query}\ndocument: {document}';

    it.each([
      [
        'loops',
        `<s>${looping('')}\nRelevance:`,
        { prefix: '', body: `<s>query: {query}document: {document}`, suffix: 'Relevance:' },
      ],
      [
        'variables',
        `{%- set ns = namespace(task='find it') -%}{%- for m in messages if m.role == 'system' -%}{%- set ns.task = m.content -%}{%- endfor -%}
<|im_start|>user
task: {{ ns.task }}
query: {{ ${'(messages | selectattr("role", "eq", "query") | first)'}.content }}
document: {{ (messages | selectattr("role", "eq", "document") | first)['content'] }}<|im_end|>
{% if add_generation_prompt %}not here{% endif %}end`,
        {
          prefix: '<|im_start|>user\n',
          body: `task: {instruction}\n${whole}`,
          suffix: '<|im_end|>\nend',
          instruction: 'find it',
        },
      ],
      [
        'parts of messages and special tokens',
        `{% set q = (messages | selectattr("role", "eq", "query") | first).content[0].text %}{{ bos_token }}query: {{ q }}
document: {{ (messages | selectattr("role", "eq", "document") | first).content[0].text }}{{ eos_token }}`,
        { prefix: '', body: `<s>${whole}`, suffix: '</s>' },
      ],
    ])('are rendered: %s', (_, source, expected) => {
      const tokens = { bos_token: '<s>', eos_token: '</s>' };
      expect(readChatTemplate(source, undefined, { tokens })).toEqual(expected);
    });

    it('may leave out the line of the instruction, or a block, which then needs a prompt of the folder', () => {
      const line = `{% for m in messages %}{% if m.role == 'system' %}task: {{ m.content }}
{% elif m.role == 'query' %}query: {{ m.content }}
{% elif m.role == 'document' %}document: {{ m.content }}{% endif %}{% endfor %}`;
      expect(readChatTemplate(line)).toEqual({ prefix: '', body: `task: {instruction}\n${whole}`, suffix: '' });
      const block = line.replace('task:', '<system>\ntask:');
      expect(readChatTemplate(block)).toEqual({ prefix: '', body: whole, suffix: '' });
      expect(readChatTemplate(block, undefined, { prompt: 'find it' })).toMatchObject({
        prefix: '<system>\n',
        body: `task: {instruction}\n${whole}`,
      });
    });

    const ALL = looping(system);
    it.each([
      ['a range', `{% for i in range(1000000000) %}x{% endfor %}${ALL}`, /call of range/],
      ['loops in loops', `${'{% for a in messages %}'.repeat(40)}x${'{% endfor %}'.repeat(40)}${ALL}`, /20000 steps/],
      [
        'lists that double',
        `{% set n = namespace(x=[1]) %}${'{% for a in messages %}'.repeat(4)}{% set n.x = n.x + n.x %}${'{% endfor %}'.repeat(4)}${ALL}`,
        /1000 items/,
      ],
      [
        'texts that double',
        `{% set n = namespace(x='xxxxxxxx') %}${'{% for a in messages %}'.repeat(4)}{% set n.x = n.x ~ n.x %}${'{% endfor %}'.repeat(4)}${ALL}`,
        /40000 characters/,
      ],
      ['a macro of itself', `{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}${ALL}`, /a Macro/],
      ['parentheses without end', `{{ ${'('.repeat(20_000)}1${')'.repeat(20_000)} }}${ALL}`, /call stack/],
      ['megabytes', `${'x'.repeat(70_000)}${ALL}`, /characters/],
      ['a large suffix', `${ALL}${'x'.repeat(30_000)}`, /chat_template/],
      ['constructors', `{{ messages.constructor.constructor('return process')() }}${ALL}`, /call of constructor/],
      ['a filter that makes long texts', `{{ 'x' | indent(1000000000) }}${ALL}`, /filter indent/],
      ['a syntax error', `{% for m in %}${ALL}`, /Unexpected token/],
      [
        'a text that depends on the query',
        looping('', "m.content if m.content | length < 100 else 'long'"),
        /depends on what query/,
      ],
      ['a query without white space around it', looping('', 'm.content | trim'), /depends on what query/],
      ['a filter on texts', looping('', 'm.content | upper'), /filter upper/],
      [
        'a message that is always needed',
        `{% if messages | length < 3 %}{{ raise_exception('no task') }}{% endif %}${ALL}`,
        /no text without an instruction.*no task/,
      ],
    ])('are refused: %s', (_, source, message) => {
      expect(() => readChatTemplate(source)).toThrow(message);
    });
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

import { describe, expect, it } from 'vitest';
import type { TopicField } from '../../../src/evaluation/formats/topic-fields.ts';
import { readQueries } from '../../../src/evaluation/formats/topics.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();

let count = 0;
async function read(name: string, text: string | Uint8Array, field?: TopicField): Promise<Record<string, string>> {
  const path = await folder.put({ [`${++count}/${name}`]: text });
  return Object.fromEntries(await readQueries(path, field));
}

const COVID =
  '<?xml version="1.0" encoding="UTF-8"?>\n<topics task="COVIDSearch" batch="2">\n<topic number="1">\n<query>coronavirus origin</query>\n<question>what is the origin of COVID-19</question>\n<narrative>seeking range of information\nabout the origin</narrative>\n</topic>\n<topic number="02"><query>a &amp; b &#x41;&#66; <![CDATA[<c> & d]]></query><question>q</question><narrative/></topic>\n</topics>\n';
const PATIENT =
  '<topics task="2019 TREC Precision Medicine">\n<topic number="1">\n<disease>melanoma</disease>\n<gene>BRAF (V600E)</gene>\n<demographic>64-year-old male</demographic>\n</topic>\n</topics>\n';

describe('topics in XML', () => {
  it.each<[string, string, TopicField | undefined, Record<string, string>]>([
    ['COVID, query', COVID, undefined, { '1': 'coronavirus origin', '02': 'a & b AB <c> & d' }],
    ['COVID, question', COVID, 'description', { '1': 'what is the origin of COVID-19', '02': 'q' }],
    [
      'number as a tag, no root element',
      '<topic><number>101</number><query>wind power</query></topic>\n<topic><number>102</number><query>b</query></topic>',
      undefined,
      { '101': 'wind power', '102': 'b' },
    ],
    [
      'Clinical Trials: the whole text of a topic',
      '<topics task="x">\n  <topic number="-1">\n A 19-year-old\n male\n  </topic>\n</topics>',
      undefined,
      { '-1': 'A 19-year-old male' },
    ],
    [
      'Clinical Trials 2023: a template of fields',
      '<topics><topic number="1" template="glaucoma"><field name="diagnosis">open angle</field>\n<field name="pressure">22</field></topic></topics>',
      undefined,
      { '1': 'diagnosis: open angle pressure: 22' },
    ],
    [
      'Precision Medicine: the parts of a patient',
      PATIENT,
      undefined,
      { '1': 'melanoma BRAF (V600E) 64-year-old male' },
    ],
    [
      'Web: query and description, not the subtopics',
      '<webtrack2012><topic number="151" type="faceted"><query>403b</query><description>What is a 403b plan?</description><subtopic number="1" type="inf">other <i>text</i></subtopic></topic></webtrack2012>',
      'title+description',
      { '151': '403b What is a 403b plan?' },
    ],
    [
      'Clinical Decision Support: the summary',
      '<topics><topic number="1" type="diagnosis"><description>long</description><summary>short</summary></topic></topics>',
      undefined,
      { '1': 'short' },
    ],
    [
      'CLEF: identifier and title',
      '<topic lang="en"><identifier>10.2452/401-AH</identifier><title>Euro</title><description>d</description></topic>',
      undefined,
      { '10.2452/401-AH': 'Euro' },
    ],
    [
      'Indri parameters',
      '<parameters><query><type>indri</type><number>7</number><text>wind power</text></query></parameters>',
      undefined,
      { '7': 'wind power' },
    ],
    [
      'a nested tag of the same name',
      '<topics><topic id="a"><query>x <query>y</query> z</query><narrative>n</narrative></topic></topics>',
      undefined,
      { a: 'x y z' },
    ],
  ])('%s', async (_, text, field, queries) => {
    expect(await read('topics.xml', text, field)).toEqual(queries);
    expect(await read('topics.txt', `\ufeff\n${text}`, field)).toEqual(queries);
  });

  it.each<[string, string]>([
    ['<topics>\n<topic number="1"><query>x</topic></topics>', 'f.xml:2: expected </query>, got </topic>'],
    ['<topics>\n<topic number="1"><query>x</query></topic>\n', 'f.xml:1: expected </topics> for <topics>, got none'],
    ['<topics>\n\n<topic number="1">x', 'f.xml:3: expected </topic> for <topic>, got none'],
    ['</topics>', 'f.xml:1: expected an opening tag, got </topics>'],
    [
      '<topics>\n<topic number="1">\nAT&T</topic></topics>',
      'f.xml:3: expected &amp; for "&", or an entity that XML itself',
    ],
    ['<topics><topic number="1">p < 0.05</topic></topics>', 'f.xml:1: expected a tag, or &lt; for "<", got "< 0.05'],
    ['<topics>\n<!-- never closed\n<topic number="1">x</topic></topics>', 'f.xml:2: expected "-->" before the end'],
    [
      '<!DOCTYPE t [<!ENTITY a "b">]>\n<t><topic number="1">&a;</topic></t>',
      'expected no definitions in the document type',
    ],
    [`${'<a>'.repeat(101)}${'</a>'.repeat(101)}`, 'expected at most 100 tags inside each other, got more'],
    [
      '<topics><topic number="1"><topic>x</topic></topic></topics>',
      'expected </topic> before the next <topic>, got none',
    ],
    ['<topics>\n<topic><query>x</query></topic></topics>', 'f.xml:2: expected a topic with <num> and title'],
    [
      '<topics><topic number="1"><query>x</query></topic>\n<topic number="1">y</topic></topics>',
      'f.xml:2: expected each topic once, got 1 again',
    ],
    ['<topics><topic number="1"><keywords>x</keywords><notes>y</notes></topic></topics>', 'got <keywords>, <notes>'],
    ['<topics></topics>', 'expected at least 1 <top>, <topic> or <query> with content, got 0'],
  ])('%j is refused with its line', async (text, message) => {
    await expect(read('f.xml', text)).rejects.toThrow(message);
  });

  it('names the tags that are read where a topic lacks the field', async () => {
    await expect(read('topics.xml', PATIENT, 'narrative')).rejects.toThrow(
      /topics\.xml:2: expected a topic with <num> and narrative \(tags that are read: .*narrative <narr>, <narrative>\), got <disease>, <gene>, <demographic>/,
    );
  });

  it('a billion laughs stay five characters', async () => {
    expect(await read('topics.xml', '<t><topic id="1">&lt;&gt;&amp;&quot;&apos;</topic></t>')).toEqual({
      '1': '<>&"\'',
    });
    await expect(read('topics.xml', '<t><topic id="1">&lol9;</topic></t>')).rejects.toThrow('got "&lol9;"');
  });
});

describe('topics in SGML', () => {
  it('tags stay open or are closed, text keeps what is no tag', async () => {
    const text =
      '<top>\n<head> Tipster Topic Description\n<num> Number: 301 \n<title> R&D, p < 3 &amp; more \n\n<desc> Description: \nIdentify <b>all</b>\nof it.\n\n<narr> Narrative: \nN.\n</top>\n<TOP><NUM>302</NUM><TITLE>B</TITLE></TOP>\n';
    expect(await read('topics.txt', text)).toEqual({ '301': 'R&D, p < 3 & more', '302': 'B' });
    expect(await read('topics.txt', text.replace('<TITLE>B', '<desc>B</desc><TITLE>B'), 'description')).toEqual({
      '301': 'Identify all of it.',
      '302': 'B',
    });
  });

  it('tags with a language in front', async () => {
    const text = '<top><EN-num>C041</EN-num><EN-title>Pesticides</EN-title><EN-desc>Find</EN-desc></top>';
    expect(await read('topics.txt', text, 'title+description')).toEqual({ C041: 'Pesticides Find' });
  });

  it.each([
    [
      '<top>\n<num>1\n<title>a\n\n<top>\n<num>2\n<title>b\n</top>',
      ':5: expected </top> before the next <top>, got none',
    ],
    ['<top>\n<num>1\n<title>a\n</top>\n<top>\n<num>2\n<title>b', ':5: expected </top> after <top>, got none'],
  ])('a topic without its end is refused', async (text, message) => {
    await expect(read('topics.txt', text)).rejects.toThrow(message);
  });
});

describe('other forms of queries', () => {
  it.each<[string, string, string, TopicField | undefined, Record<string, string>]>([
    [
      'ir_datasets',
      'q.jsonl',
      '{"query_id": "1", "text": "a"}\n{"query_id": "2", "text": ""}\n',
      undefined,
      { '1': 'a', '2': '' },
    ],
    [
      'ir_datasets, topics',
      'queries',
      '{"query_id": "1", "title": "a", "description": "b", "narrative": "c"}\n',
      'title+description',
      { '1': 'a b' },
    ],
    [
      'ir_datasets, patients',
      'q.jsonl',
      '{"query_id": "1", "disease": "melanoma", "gene": "BRAF", "demographic": "male"}\n',
      undefined,
      { '1': 'melanoma BRAF male' },
    ],
    ['MTEB', 'queries.jsonl', '{"_id": "q", "title": "other", "text": "a"}\n', undefined, { q: 'a' }],
    [
      'lines named .json, as `to_json` writes',
      'q.json',
      '{"_id": "q", "text": "a"}\n{"_id": "r", "text": "b"}\n',
      undefined,
      { q: 'a', r: 'b' },
    ],
    ['one line named .json', 'q.json', '{"_id": "q", "text": "a"}', undefined, { q: 'a' }],
    ['a list', 'q.json', '[{"qid": 7, "query": "a"}]', undefined, { '7': 'a' }],
    ['Pyserini topics', 'q.json', '{"301": {"title": "a", "description": "b"}}', 'description', { '301': 'b' }],
    ['{id: text}', 'q.json', '{"301": "a"}', undefined, { '301': 'a' }],
    [
      'SMART',
      'med.qry',
      '.I 1\n.W\nthe crystalline\n lens\n.I 02\n.T\nonly title\n',
      undefined,
      { '1': 'the crystalline lens', '2': 'only title' },
    ],
    ['Cranfield: numbered by place', 'cran.qry', '.I 001\n.W\na\n.I 004\n.W\nb\n', undefined, { '1': 'a', '2': 'b' }],
    ['lines', 'topics.txt', '1\ta\n2\tb\n', undefined, { '1': 'a', '2': 'b' }],
  ])('%s', async (_, name, text, field, queries) => {
    expect(await read(name, text, field)).toEqual(queries);
  });

  it.each<[string, string, TopicField | undefined, string]>([
    ['q.tsv', '1\ta\n', 'description', 'expected topics that have a description, got lines of id and text'],
    ['med.qry', '.I 1\n.W\na\n', 'narrative', 'expected topics that have a narrative, got a SMART file'],
    [
      'q.jsonl',
      '{"query_id": "1", "text": "a"}\n',
      'description',
      'q.jsonl:1: expected "description" to be text, got nothing',
    ],
    ['q.jsonl', '{"query_id": "1"}\n', undefined, 'q.jsonl:1: expected "text" to be text, got nothing'],
    ['q.json', '"x"', undefined, 'expected {id: text} or a list of queries'],
    ['med.qry', '.I 1\n.W\n\n', undefined, 'med.qry:1: expected a query with a field .W or .T, got none'],
    ['med.qry', '.I 1\n.W\na\n.I 1\n.W\nb\n', undefined, 'med.qry:4: expected each query once, got 1 again'],
  ])('%s %j is refused', async (name, text, field, message) => {
    await expect(read(name, text, field)).rejects.toThrow(message);
  });

  it.each([
    ['queries.parquet', 'PAR1\x15\x04', 'expected a Parquet file, got'],
    ['data-00000-of-00001.arrow', 'ARROW1\0\0', 'got Arrow; write it as JSON lines'],
    ['topics.Z', '\x1f\x9d\x90', 'got a file of `compress`; unpack it with gzip -d'],
    ['topics.bz2', 'BZh91AY&SY', 'got bzip2; unpack it with bzip2 -d'],
    ['topics.zst', '\x28\xb5\x2f\xfd\x00', 'got unexpected end of file'],
    ['topics.xz', '\xfd7zXZ\0', 'got xz; unpack it with xz -d'],
    ['topics.zip', 'PK\x03\x04', 'got zip; unpack it with unzip'],
  ])('%s is refused with what to do', async (name, bytes, message) => {
    await expect(read(name, Buffer.from(bytes, 'latin1'))).rejects.toThrow(message);
  });
});

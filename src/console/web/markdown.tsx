import { useMemo } from 'preact/hooks';
import { type Block, blocksOf, type Span, spansOf } from './markdown-blocks.ts';

function Inline({ text }: { text: string }) {
  return (
    <>
      {spansOf(text).map(({ kind, text: inside }: Span, i) => {
        const Tag = kind === 'text' ? 'span' : kind;
        return <Tag key={i}>{inside}</Tag>;
      })}
    </>
  );
}

function TableBlock({ head, rows }: Extract<Block, { kind: 'table' }>) {
  return (
    <div class="scroll">
      <table>
        {head.some(Boolean) && (
          <thead>
            <tr>
              {head.map((cell, i) => (
                <th key={i} scope="col">
                  <Inline text={cell} />
                </th>
              ))}
            </tr>
          </thead>
        )}
        <tbody>
          {rows.map((cells, i) => (
            <tr key={i}>
              {cells.map((cell, j) => (
                <td key={j}>
                  <Inline text={cell} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function BlockView({ block }: { block: Block }) {
  if (block.kind === 'table') return <TableBlock {...block} />;
  if (block.kind === 'code') return <pre>{block.text}</pre>;
  if (block.kind === 'paragraph')
    return (
      <p>
        <Inline text={block.text} />
      </p>
    );
  if (block.kind === 'list')
    return (
      <ul>
        {block.items.map((item, i) => (
          <li key={i}>
            <Inline text={item} />
          </li>
        ))}
      </ul>
    );
  return (
    <h4>
      <Inline text={block.text} />
    </h4>
  );
}

/** Renders a card's text. */
export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => blocksOf(text), [text]);
  return (
    <div class="prose">
      {blocks.map((block, i) => (
        <BlockView key={i} block={block} />
      ))}
    </div>
  );
}

import { useState } from 'preact/hooks';
import type { PlaygroundAnswer, PlaygroundItem } from '../types.ts';
import { count, duration, fixed } from './format.ts';
import { Badge, Facts } from './parts.tsx';
import { type Move, rankMoves } from './ranking.ts';

const FIRST = 50;

function MoveMark({ move }: { move: Move }) {
  if (move === 0)
    return (
      <span class="move move-same">
        <span aria-hidden="true">=</span>
        <span class="visually-hidden">same place</span>
      </span>
    );
  const places = Math.abs(move);
  return (
    <span class={`move ${move > 0 ? 'move-up' : 'move-down'}`}>
      <span aria-hidden="true">{`${move > 0 ? '▲' : '▼'}\u2009${places}`}</span>
      <span class="visually-hidden">
        {move > 0 ? 'up' : 'down'} {places} {places === 1 ? 'place' : 'places'}
      </span>
    </span>
  );
}

interface ItemProps {
  readonly item: PlaygroundItem;
  readonly rank: number;
  readonly passage: string;
  readonly move: Move | undefined;
}

function Item({ item, rank, passage, move }: ItemProps) {
  const { index, score, relevanceScore, truncated } = item;
  return (
    <li class="item" data-index={index}>
      <span class="rank tabular">{rank}</span>
      <div class="item-body">
        <p class="passage">{passage}</p>
        <p class="item-figures tabular">
          <span title="Relevance score, after the activation">{fixed(relevanceScore, 4)}</span>
          <span class="muted" title="Score (logit)">
            {fixed(score, 3)}
          </span>
          {move !== undefined && <MoveMark move={move} />}
          {truncated && <Badge tone="warn">cut</Badge>}
        </p>
        <svg class="bar" viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true">
          <rect class="bar-track" width="100" height="2" />
          <rect class="bar-value" width={Math.max(0, Math.min(1, relevanceScore)) * 100} height="2" />
        </svg>
      </div>
    </li>
  );
}

interface RankingProps {
  readonly reference: string;
  readonly answer: PlaygroundAnswer;
  readonly passages: readonly string[];
  /** The ranking that moves are relative to. */
  readonly base: PlaygroundAnswer | undefined;
}

/** Shows one model's ranking with scores, moves and timings. */
export function Ranking({ reference, answer, passages, base }: RankingProps) {
  const [shown, setShown] = useState(FIRST);
  const moves = base && rankMoves(base, answer);
  const { timings, tokens, queryCut, ranking } = answer;
  const cut = ranking.filter(({ truncated }) => truncated).length;
  return (
    <>
      <h3>
        {answer.model}@{answer.version}
        {reference !== `${answer.model}@${answer.version}` && <span class="muted"> {reference}</span>}
      </h3>
      <Facts
        entries={[
          ['Total', duration(timings.totalMs)],
          ['Tokenize', duration(timings.tokenizeMs)],
          ['Queue', duration(timings.queueMs)],
          ['Infer', duration(timings.inferMs)],
          ['Tokens', count(tokens)],
          ['Cut', count(cut)],
        ]}
      />
      {queryCut > 0 && (
        <p class="item-figures">
          <Badge tone="warn">query cut</Badge>
          <span>
            {count(queryCut)} {queryCut === 1 ? 'token' : 'tokens'} of the query left out
          </span>
        </p>
      )}
      <ol class="ranking">
        {ranking.slice(0, shown).map((item, i) => (
          <Item
            key={item.index}
            item={item}
            rank={i + 1}
            passage={passages[item.index] ?? ''}
            move={moves?.get(item.index)}
          />
        ))}
      </ol>
      {ranking.length > shown && (
        <button type="button" onClick={() => setShown(ranking.length)}>
          Show all {count(ranking.length)}
        </button>
      )}
    </>
  );
}

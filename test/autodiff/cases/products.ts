import { MICROSOFT } from '../../../src/onnx/builder.ts';
import { randomTensor } from '../../support/central-differences.ts';
import { a, binary, type Case, cube, row } from './case.ts';

export const products: readonly Case[] = [
  binary('MatMul', a, randomTensor([4, 5], 11)),
  binary('MatMul', cube, randomTensor([4, 5], 12), 'MatMul, tokens by a matrix'),
  binary('MatMul', cube, randomTensor([2, 4, 5], 13), 'MatMul, batched'),
  binary('MatMul', randomTensor([2, 2, 3, 4], 14), randomTensor([2, 1, 4, 3], 15), 'MatMul, batch broadcast'),
  binary('MatMul', a, randomTensor([2, 4, 5], 16), 'MatMul, matrix by batch'),
  binary('MatMul', row, randomTensor([4, 5], 17), 'MatMul, vector by matrix'),
  binary('MatMul', a, row, 'MatMul, matrix by vector'),
  binary('MatMul', row, randomTensor([4], 18), 'MatMul, vector by vector'),
  binary('MatMul', cube, row, 'MatMul, batch by vector'),
  ...[0, 1].flatMap((transA) =>
    [0, 1].flatMap((transB) => [
      fused([3, 4], [4, 5], transA, transB),
      fused([2, 3, 4], [2, 4, 5], transA, transB),
      fused([2, 3, 4], [4, 5], transA, transB),
      gemm(transA, transB),
    ]),
  ),
  {
    name: 'Gemm without C',
    covers: ['Gemm'],
    inputs: { x: a, y: randomTensor([5, 4], 20) },
    forward: (g) => g.op('Gemm', ['x', 'y'], { transB: 1, alpha: 0.7 }),
    wrt: ['x', 'y'],
  },
  ...['bij,bjk->bik', 'bid,bjd->bij', 'bhid,jd->bhij'].map((equation): Case => {
    const sizes: Record<string, number> = { b: 2, i: 3, j: 4, k: 2, d: 3, h: 2 };
    const [left, right] = equation.split('->')[0]!.split(',') as [string, string];
    const dims = (term: string) => [...term].map((letter) => sizes[letter]!);
    return {
      name: `Einsum ${equation}`,
      covers: ['Einsum'],
      inputs: { x: randomTensor(dims(left), 21), y: randomTensor(dims(right), 22) },
      forward: (g) => g.op('Einsum', ['x', 'y'], { equation }),
      wrt: ['x', 'y'],
    };
  }),
];

function swapLast(dims: readonly number[]): number[] {
  return [...dims.slice(0, -2), dims.at(-1)!, dims.at(-2)!];
}

function fused(x: readonly number[], y: readonly number[], transA: number, transB: number): Case {
  return {
    name: `FusedMatMul ${x.length}-D by ${y.length}-D, transA ${transA}, transB ${transB}`,
    covers: [`${MICROSOFT}:FusedMatMul`],
    inputs: { x: randomTensor(transA ? swapLast(x) : x, 31), y: randomTensor(transB ? swapLast(y) : y, 32) },
    forward: (g) => g.op('FusedMatMul', ['x', 'y'], { transA, transB, alpha: 0.6 }, { domain: MICROSOFT }),
    wrt: ['x', 'y'],
  };
}

function gemm(transA: number, transB: number): Case {
  return {
    name: `Gemm, transA ${transA}, transB ${transB}`,
    covers: ['Gemm'],
    inputs: {
      x: randomTensor(transA ? [4, 3] : [3, 4], 33),
      y: randomTensor(transB ? [5, 4] : [4, 5], 34),
      z: randomTensor([5], 35),
    },
    forward: (g) => g.op('Gemm', ['x', 'y', 'z'], { transA, transB, alpha: 0.8, beta: 1.3 }),
    wrt: ['x', 'y', 'z'],
  };
}

/*
 * Objectives with their default options as lines of PyTorch, for scripts that repeat a loss elsewhere. `s`, `y`, `t`, `w` are scores, grades,
 * teacher scores and weights, [queries, passages], without padding; each assigns `loss`. Lists have the weight of their first passage.
 */

const PAIRS = 'd = lambda x: x.unsqueeze(2) - x.unsqueeze(1)';
const PAIR_WEIGHTS = 'v = w[:, :1].unsqueeze(2)';
const RELEVANT = 'relevant = ((y > 0).unsqueeze(2) & (y == 0).unsqueeze(1))';

/** Sorts the scores by falling label; `l` is each passage's log-probability of being picked at its rank. */
const PICKED = [
  'o = torch.argsort(-y, dim=1, stable=True)',
  'z = s.gather(1, o)',
  'l = z - torch.logcumsumexp(z.flip(1), 1).flip(1)',
];

const FORMULAS: Readonly<Record<string, readonly string[]>> = {
  BCE: ['loss = F.binary_cross_entropy_with_logits(s, y.clamp(max=1), weight=w)'],
  Hinge: [PAIRS, PAIR_WEIGHTS, RELEVANT, 'loss = (v * F.relu(1 - d(s)))[relevant].mean()'],
  MarginMSE: [PAIRS, PAIR_WEIGHTS, RELEVANT, 'loss = (v * (d(s) - d(t)) ** 2)[relevant].mean()'],
  InfoNCE: ['p = (y > 0).to(s)', 'loss = -(w[:, 0] * (F.log_softmax(s, 1) * p).sum(1) / p.sum(1)).mean()'],
  DistillRankNET: [PAIRS, PAIR_WEIGHTS, 'loss = (v * F.softplus(-d(s)))[d(t) > 0].mean()'],
  'ADR-MSE': [
    PAIRS,
    'r = torch.argsort(torch.argsort(-t, dim=1, stable=True), dim=1) + 1.0',
    'a = torch.sigmoid(-d(s)).sum(2) + 0.5',
    'loss = (w[:, :1] * (a - r) ** 2 / torch.log2(r + 1)).mean()',
  ],
  ListNet: ['loss = -(w[:, :1] * F.softmax(y, 1) * F.log_softmax(s, 1)).sum(1).mean()'],
  KLDivergence: [
    'k = F.kl_div(F.log_softmax(s, 1), F.log_softmax(t, 1), reduction="none", log_target=True)',
    'loss = (w[:, 0] * k.sum(1)).mean()',
  ],
  // The `weight` of F.mse_loss would divide by the sum of the weights.
  MSE: ['loss = (w * (s - t) ** 2).mean()'],
  ListMLE: [...PICKED, 'loss = -(w[:, 0] * l.sum(1)).mean()'],
  PListMLE: [
    ...PICKED,
    'n = s.shape[1]',
    'p = 2.0 ** (n - torch.arange(1, n + 1).to(s)) - 1',
    'loss = -(w[:, :1] * l * p / p.sum()).sum(1).mean()',
  ],
};

/** Returns the lines that assign `loss`; undefined for objectives that have none. */
export const torchFormula = (objective: string): readonly string[] | undefined => FORMULAS[objective];

/** Names of the objectives that have a formula. */
export const TORCH_OBJECTIVES: readonly string[] = Object.keys(FORMULAS);

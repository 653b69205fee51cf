import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPage, enter, hasChromium, launch, openTab, type Visit, visit } from '../browser.ts';
import { ADMIN, CLERK, type ConsoleServer, FLEAS, startConsoleServer } from '../console-server.ts';
import { lowContrastTexts } from './contrast.ts';

/*
 * The console in a real browser, against a real server with the shipped model and experiments whose effects are known.
 */

describe.skipIf(!hasChromium)('the console in Chromium (needs Debian’s package chromium)', () => {
  let service: ConsoleServer;
  let browser: Browser;

  beforeAll(async () => {
    buildPage();
    [service, browser] = await Promise.all([startConsoleServer(4000), launch()]);
  }, 180_000);
  afterAll(async () => {
    await browser?.close();
    await service?.clear();
  });

  const inside = (options = {}): Promise<Visit> => visit(browser, service.server.url, ADMIN, options);
  const leave = ({ page }: Visit) => page.context().close();

  async function ask(page: Page, models: readonly string[]): Promise<void> {
    await page.getByLabel('Query').fill(FLEAS.query);
    await page.getByLabel('Passages, one a line').fill(FLEAS.passages.join('\n'));
    for (const model of models) await page.getByRole('checkbox', { name: model, exact: true }).check();
    await page.getByRole('checkbox', { name: 'm', exact: true }).uncheck();
    await page.getByRole('button', { name: 'Rank' }).click();
  }
  /** Places of the passages in the request, in the order a model gave them. */
  const orderIn = (page: Page, model: string): Promise<number[]> =>
    page
      .getByRole('article', { name: `Ranking of ${model}` })
      .locator('.item')
      .evaluateAll((items) => items.map((item) => Number((item as HTMLElement).dataset.index)));

  describe('keys', () => {
    it('a wrong key is refused with the server’s message, a right one opens the console', async () => {
      const at = await visit(browser, service.server.url);
      await enter(at.page, 'wrong');
      await at.page.getByRole('alert').filter({ hasText: 'expected a valid API key' }).waitFor();
      await enter(at.page, CLERK);
      await at.page.getByRole('alert').filter({ hasText: 'scope admin' }).waitFor();
      expect(await at.page.evaluate(() => sessionStorage.getItem('winnow-console-key'))).toBeNull();
      await enter(at.page, ADMIN);
      await at.page.getByRole('tab', { name: 'Playground' }).waitFor();
      await leave(at);
    });

    it('a key is kept for the tab only, and forgotten on demand', async () => {
      const at = await inside();
      // The key is kept once the server has accepted it.
      await at.page.getByRole('tab', { name: 'Models' }).waitFor();
      await at.page.reload();
      await at.page.getByRole('tab', { name: 'Models' }).waitFor();
      expect(await at.page.evaluate(() => JSON.stringify(localStorage))).not.toContain(ADMIN);
      await at.page.getByRole('button', { name: 'Forget key' }).click();
      await at.page.getByRole('heading', { name: 'Admin key' }).waitFor();
      await leave(at);
    });
  });

  describe('playground', () => {
    it('ranks with two models side by side, with moves, marks of cut passages and timings', async () => {
      const at = await inside();
      await ask(at.page, ['m@1', 'm@2']);
      const first = at.page.getByRole('article', { name: 'Ranking of m@1' });
      const second = at.page.getByRole('article', { name: 'Ranking of m@2' });
      await second.locator('.item').first().waitFor();
      const [full, short] = [await orderIn(at.page, 'm@1'), await orderIn(at.page, 'm@2')];
      expect(full.slice(0, 2).toSorted()).toEqual([1, 3]);
      expect(short[0]).toBe(2);
      const lost = short.indexOf(3) - full.indexOf(3);
      expect(lost).toBeGreaterThan(0);
      await second.locator('[data-index="3"]').getByText(`down ${lost} place`).waitFor();
      expect(await second.locator('[data-index="3"]').getByText('cut', { exact: true }).count()).toBe(1);
      expect(await first.getByText('cut', { exact: true }).count()).toBe(0);
      expect(await first.locator('dl').textContent()).toMatch(/Total\s*[\d.]+\sm?s/);
      const pairs = full.flatMap((a, i) =>
        full.slice(i + 1).map((b) => (short.indexOf(a) < short.indexOf(b) ? 1 : -1)),
      );
      const tau = pairs.reduce<number>((sum, one) => sum + one, 0) / pairs.length;
      const shown = await at.page.getByText('Kendall’s τ with m@1: ').textContent();
      expect(Number(shown?.match(/: (−?\d(?:\.\d+)?)$/)?.[1]?.replace('−', '-'))).toBeCloseTo(tau, 6);
      expect(tau).toBeLessThan(1);
      expect(at.complaints).toEqual([]);
      await leave(at);
    });

    it('takes passages as JSON and any reference; a model that cannot answer shows its error beside the others', async () => {
      const at = await inside();
      await at.page.getByLabel('Another model').fill('m:stable');
      await at.page.getByLabel('Another model').press('Enter');
      await ask(at.page, []);
      await at.page.getByLabel('Passages, one a line').fill(JSON.stringify(FLEAS.passages.map((text) => ({ text }))));
      await at.page.getByLabel('Another model').fill('nobody');
      await at.page.getByRole('button', { name: 'Add' }).click();
      await at.page.getByRole('button', { name: 'Rank' }).click();
      await at.page.getByRole('article', { name: 'Ranking of nobody' }).getByRole('alert').waitFor();
      expect(await at.page.getByRole('article', { name: 'Ranking of nobody' }).textContent()).toContain(
        'got model nobody',
      );
      expect((await orderIn(at.page, 'm:stable')).slice(0, 2).toSorted()).toEqual([1, 3]);
      await at.page.getByLabel('Passages, one a line').fill('[1]');
      await at.page.getByRole('button', { name: 'Rank' }).click();
      await at.page.getByText('expected a string or an object with "text", got number (passage 0)').waitFor();
      await leave(at);
    });
  });

  describe('models', () => {
    it('shows versions, their state, why one was refused, card and curve', async () => {
      const at = await inside();
      await openTab(at.page, 'Models');
      await at.page.getByRole('article', { name: 'm@1' }).getByText('ready', { exact: true }).waitFor();
      const third = at.page.getByRole('article', { name: 'm@3' });
      await third.getByRole('button', { name: 'Load m@3' }).click();
      await third.getByRole('alert').filter({ hasText: 'm@3 was refused' }).waitFor();
      await third.getByText('refused', { exact: true }).waitFor();
      expect(await third.locator('.notice-warn').textContent()).toMatch(/^Refused: .*tokenizer/);
      const second = at.page.getByRole('article', { name: 'm@2' });
      await second.getByText('listnet', { exact: true }).waitFor();
      await second.getByRole('button', { name: 'Card and curve' }).click();
      const curve = second.getByRole('img', { name: 'Training curve of m@2' });
      await curve.waitFor();
      expect(await curve.evaluate((img: HTMLImageElement) => img.decode().then(() => img.naturalWidth))).toBe(40);
      await second.getByRole('cell', { name: 'first stage', exact: true }).waitFor();
      // The browser reports the refused load too.
      expect(at.complaints.filter((text) => !text.includes('422'))).toEqual([]);
      await leave(at);
    });

    it('moves a label, unloads and loads', async () => {
      const at = await inside();
      await openTab(at.page, 'Models');
      const second = at.page.getByRole('article', { name: 'm@2' });
      await second.getByLabel('New label for m@2').fill('canary');
      await second.getByRole('button', { name: 'Set label' }).click();
      await second.getByText('canary', { exact: true }).waitFor();
      await second.getByRole('button', { name: 'Unload m@2' }).click();
      await second.getByText('unloaded', { exact: true }).waitFor();
      await second.getByRole('button', { name: 'Load m@2', exact: true }).click();
      await second.getByText('ready', { exact: true }).waitFor();
      expect(at.complaints).toEqual([]);
      await leave(at);
    });
  });

  describe('experiments', () => {
    const choose = (page: Page, name: string) => page.getByRole('link', { name }).click();

    it('an effect of +20 % is found, with intervals over time, arms and the audit trail', async () => {
      const at = await inside();
      await openTab(at.page, 'Experiments');
      const shown = at.page.getByRole('article', { name: 'listwise-loss' });
      await shown
        .getByText(/listwise wins/)
        .first()
        .waitFor();
      const chart = shown.getByRole('img', { name: 'clicks: listwise against control over time' });
      await chart.waitFor();
      expect(await chart.locator('path.effect').getAttribute('d')).toMatch(/^M[\d.]+ [\d.]+(L[\d.]+ [\d.]+){10,}/);
      const row = shown.getByRole('region', { name: 'Effects on clicks' }).getByRole('row').nth(1);
      const [, effect, low, high] = /\+([\d.]+)\s%.*?\+([\d.]+)\s%.*?\+([\d.]+)\s%/s
        .exec((await row.textContent()) ?? '')!
        .map(Number);
      expect(low).toBeLessThan(20);
      expect(high).toBeGreaterThan(20);
      expect(Math.abs(effect! - 20)).toBeLessThan(10);
      await shown.getByRole('region', { name: 'Effects on reformulations' }).getByText('not decided').waitFor();
      await shown.getByText('at most 2.0\u00a0% of requests fail').waitFor();
      await shown.getByText('created', { exact: true }).waitFor();
      expect(at.complaints).toEqual([]);
      await leave(at);
    });

    it('lost units stop the verdict; interleaving shows credit, shadow its figures', async () => {
      const at = await inside();
      await openTab(at.page, 'Experiments');
      await choose(at.page, 'lost-units');
      await at.page.getByRole('alert').filter({ hasText: 'Sample ratio mismatch' }).waitFor();
      await at.page.getByText('Not reliable').waitFor();
      await choose(at.page, 'drafted');
      const credit = at.page.getByRole('row', { name: /second \d+ \d+ \d+ \+\d/ });
      await credit.waitFor();
      expect(Number(/\+([\d.]+)\s%/.exec((await credit.textContent()) ?? '')![1])).toBeCloseTo(100 / 3, -1.3);
      await choose(at.page, 'beside');
      await at.page.getByRole('columnheader', { name: 'Kendall’s τ' }).waitFor();
      expect(at.complaints).toEqual([]);
      await leave(at);
    });
  });

  it('load follows the server', async () => {
    const at = await inside();
    await openTab(at.page, 'Load');
    const panel = (name: string) => at.page.getByRole('region', { name, exact: true });
    await panel('Requests').getByText('0 in flight').waitFor();
    const call = { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${CLERK}` } };
    const body = JSON.stringify({ query: FLEAS.query, texts: FLEAS.passages });
    for (let i = 0; i < 3; i++)
      expect((await fetch(`${service.server.url}/rerank`, { ...call, body })).status).toBe(200);
    await at.page.locator('dl', { hasText: 'Requests so far' }).getByText('3', { exact: true }).waitFor();
    await panel('Pairs scored')
      .getByText(/^max [\d.]*[1-9][\d.]* \/s$/)
      .waitFor();
    await panel('Latency, p95')
      .getByText(/^max [\d.]+\sm?s$/)
      .waitFor();
    await at.page.getByText('2 of 2 on cpu').or(at.page.getByText('1 of 1 on cpu')).waitFor();
    expect(at.complaints).toEqual([]);
    await leave(at);
  });

  it('works by keyboard alone', async () => {
    const at = await visit(browser, service.server.url);
    const { page } = at;
    const { keyboard } = page;
    await page.getByRole('heading', { name: 'Admin key' }).waitFor();
    const focused = () =>
      page.evaluate(
        () =>
          document.activeElement?.id ||
          document.activeElement?.textContent?.trim() ||
          document.activeElement?.getAttribute('name'),
      );
    await keyboard.press('Tab');
    expect(await focused()).toBe('Skip to content');
    for (let i = 0; i < 2; i++) await keyboard.press('Tab');
    await keyboard.type(ADMIN);
    await keyboard.press('Enter');
    await page.getByRole('tab', { name: 'Playground' }).waitFor();
    await page.getByRole('tab', { name: 'Playground' }).focus();
    await keyboard.press('ArrowRight');
    expect(await focused()).toBe('tab-models');
    await keyboard.press('End');
    expect(await focused()).toBe('tab-load');
    await page.getByRole('heading', { level: 1, name: 'Load' }).waitFor();
    await keyboard.press('1');
    await page.getByRole('heading', { level: 1, name: 'Playground' }).waitFor();
    await keyboard.press('Tab');
    await keyboard.type('flea 4');
    expect(await page.getByLabel('Query').inputValue()).toBe('flea 4');
    await keyboard.press('Tab');
    await keyboard.type('A flea.');
    await keyboard.press('Control+Enter');
    await page.locator('.item').first().waitFor();
    const outline = await page
      .getByLabel('Passages, one a line')
      .evaluate((field) => getComputedStyle(field).outlineStyle);
    expect(outline).toBe('solid');
    expect(at.complaints).toEqual([]);
    await leave(at);
  });

  for (const colorScheme of ['light', 'dark'] as const)
    it(`fits 390 pixels and can be read, ${colorScheme}`, async () => {
      const at = await inside({ viewport: { width: 390, height: 844 }, colorScheme });
      for (const tab of ['Playground', 'Models', 'Experiments', 'Load']) {
        await openTab(at.page, tab);
        if (tab === 'Playground') await ask(at.page, ['m@1', 'm@2']);
        await at.page
          .locator({ Playground: '.item', Models: '.version', Experiments: '.chart', Load: '.panel' }[tab]!)
          .first()
          .waitFor();
        expect(
          await at.page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
          tab,
        ).toBeLessThanOrEqual(0);
        expect(await at.page.evaluate(lowContrastTexts), tab).toEqual([]);
      }
      expect(at.complaints).toEqual([]);
      await leave(at);
    });

  it('a color scheme other than the system’s can be chosen', async () => {
    const at = await inside({ colorScheme: 'light' });
    const paper = () => at.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await paper();
    for (const name of ['Colors: system', 'Colors: light']) await at.page.getByRole('button', { name }).click();
    await at.page.getByRole('button', { name: 'Colors: dark' }).waitFor();
    const dark = await paper();
    expect(dark).not.toBe(light);
    await at.page.reload();
    await at.page.getByRole('button', { name: 'Colors: dark' }).waitFor();
    expect(await paper()).toBe(dark);
    await leave(at);
  });
});

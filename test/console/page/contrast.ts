/** Runs in the page: returns the texts whose contrast to their background is below 4.5 : 1 (WCAG 2.2, 1.4.3), except on disabled buttons. */
export function lowContrastTexts(): string[] {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })!;
  const over = (colors: readonly string[]): readonly number[] => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb: readonly number[]) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const behind = (element: Element | null): string[] =>
    element ? [...behind(element.parentElement), getComputedStyle(element).backgroundColor] : [];
  return [...document.querySelectorAll('body *')]
    .filter(
      (e) =>
        [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent!.trim()) &&
        !e.closest('button:disabled, noscript, svg'),
    )
    .filter((e) => e.checkVisibility())
    .flatMap((e) => {
      const back = behind(e);
      const [a, b] = [luminance(over(back)), luminance(over([...back, getComputedStyle(e).color]))].toSorted(
        (p, q) => q - p,
      );
      const contrast = (a! + 0.05) / (b! + 0.05);
      return contrast < 4.5
        ? [`${e.tagName}.${e.className} ${contrast.toFixed(2)}: ${e.textContent!.slice(0, 40)}`]
        : [];
    });
}

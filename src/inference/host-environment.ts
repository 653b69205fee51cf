/**
 * Variables that a host may need: to find programs and libraries, to write temporary files, to reach a graphics card, and what configures Node,
 * the engine and its threads. Addresses and passwords of the front process (database, keys, tokens) are not among them.
 */
const NAMES: ReadonlySet<string> = new Set([
  'PATH',
  'HOME',
  'USER',
  'TMPDIR',
  'TEMP',
  'TMP',
  'TZ',
  'LANG',
  'CI',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
]);
const PREFIXES = [
  'LC_',
  'XDG_',
  'NODE_',
  'ORT_',
  'ONNXRUNTIME_',
  'OMP_',
  'CUDA_',
  'NVIDIA_',
  'VK_',
  'MESA_',
  'LIBGL_',
  'DAWN_',
  'GALLIUM_',
  'LP_',
];

/** Returns the part of an environment that a host process gets, with `extra` added. */
export function hostEnvironment(
  from: NodeJS.ProcessEnv,
  extra: Readonly<Record<string, string>>,
): Record<string, string | undefined> {
  const needed = Object.entries(from).filter(
    ([name]) => NAMES.has(name) || PREFIXES.some((prefix) => name.startsWith(prefix)),
  );
  return { ...Object.fromEntries(needed), ...extra };
}

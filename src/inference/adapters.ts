import { readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { Provider } from './inference-types.ts';

/*
 * Graphics hardware of this machine, read from the file system. This is fast enough for the front process, which never loads the engine.
 */

export interface GraphicsFacts {
  readonly platform: NodeJS.Platform;
  /** Kernel drivers of the render nodes (`/dev/dri/renderD*`). */
  readonly drivers: readonly string[];
  /** Whether NVIDIA's device files exist. In containers its driver provides Vulkan without a render node. */
  readonly nvidia: boolean;
  /** `VK_ICD_FILENAMES` and `VK_DRIVER_FILES`: the Vulkan drivers that the environment selects. */
  readonly icds: string;
}

const SOFTWARE_KERNEL_DRIVERS = new Set([
  'virtio_gpu',
  'virtio-pci',
  'vgem',
  'vkms',
  'bochs-drm',
  'simple-framebuffer',
]);
const SOFTWARE_ICD = /swiftshader|lvp|lavapipe|llvmpipe|mock_icd/i;

/**
 * Whether WebGPU would run on hardware. The runtime takes any adapter, also a software rasterizer, and does not report which. A software
 * adapter is slower than the CPU provider, so `auto` uses WebGPU only if a device is found first.
 */
export function hasHardwareAdapter({ platform, drivers, nvidia, icds }: GraphicsFacts): boolean {
  if (platform === 'darwin' || platform === 'win32') return true;
  if (SOFTWARE_ICD.test(icds)) return false;
  return nvidia || drivers.some((driver) => !SOFTWARE_KERNEL_DRIVERS.has(driver));
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function kernelDriver(node: string): string {
  try {
    return basename(readlinkSync(`/sys/class/drm/${node}/device/driver`));
  } catch {
    return 'simple-framebuffer';
  }
}

export function graphicsFacts(): GraphicsFacts {
  return {
    platform: process.platform,
    drivers: list('/dev/dri')
      .filter((name) => name.startsWith('renderD'))
      .map(kernelDriver),
    nvidia: list('/dev').some((name) => /^nvidia\d+$/.test(name)),
    icds: `${process.env.VK_ICD_FILENAMES ?? ''} ${process.env.VK_DRIVER_FILES ?? ''}`,
  };
}

/** Returns the providers that `auto` tries, in order: CUDA with an NVIDIA device, WebGPU with a hardware adapter, the CPU always. */
export function candidates(facts: GraphicsFacts): readonly Provider[] {
  const cuda: readonly Provider[] = facts.nvidia ? ['cuda'] : [];
  const webgpu: readonly Provider[] = hasHardwareAdapter(facts) ? ['webgpu'] : [];
  return [...cuda, ...webgpu, 'cpu'];
}

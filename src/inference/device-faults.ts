/** Errors after which a device fails every call until its process ends. */
const STICKY = [
  /CUDA (failure|error) ?:? ?(?!2\b)\d+/i,
  /illegal memory access|device-side assert|unspecified launch failure|misaligned address|illegal instruction/i,
  /CU(BLAS|DNN)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|NOT_INITIALIZED)/,
  /(WebGPU )?device (is |was )?lost/i,
];

const OUT_OF_MEMORY = /out of memory|failed to allocate memory|bad_alloc|CUDA (failure|error) ?:? ?2\b|ALLOC_FAILED/i;

/** Whether the process must be replaced after this error. Not after running out of memory: a smaller batch may fit. */
export function isStickyFault(message: string): boolean {
  return !OUT_OF_MEMORY.test(message) && STICKY.some((pattern) => pattern.test(message));
}

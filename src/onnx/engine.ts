import '../util/engine-telemetry.ts';

/*
 * The one import of the engine (ONNX Runtime) in src/: its telemetry is off before the native library loads. Types may be imported from the package.
 */

export { InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';

/*
 * ONNX Runtime 1.30 has the vendor's telemetry compiled in on Linux, on by default: it keeps a device id in the home folder and posts
 * executable path, processor, model file name and run times. The native library reads this variable when it is loaded, so that this module
 * comes before every import of the engine (`src/onnx/engine.ts`). It works on the main thread only:
 * the environment of a worker thread is a copy that native code does not see.
 */
process.env.ORT_DISABLE_TELEMETRY = '1';

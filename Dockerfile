# syntax=docker/dockerfile:1
# One file, two images:
#   docker build --target cpu -t winnow:cpu .
#   docker build --target cuda -t winnow:cuda .
# linux/x64 only. test/e2e/image.test.ts runs the RUN lines of the stages `build` and `files-cpu` in a clean folder and serves from the result.

FROM node:24-slim AS build
# The engine's install script would fetch CUDA libraries; only the stage files-cuda wants them.
ENV ONNXRUNTIME_NODE_INSTALL=skip
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY bin bin
COPY docker docker
COPY src src
RUN npm run build
RUN npm prune --omit=dev --no-audit --no-fund

FROM build AS files-cpu
RUN node docker/prune.mjs

FROM build AS files-cuda
RUN ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js
RUN node docker/prune.mjs

FROM node:24-slim AS cpu
ENV NODE_ENV=production WINNOW_MODELS=/app/models ORT_DISABLE_TELEMETRY=1
WORKDIR /app
COPY --from=files-cpu /app/package.json ./
COPY --from=files-cpu /app/node_modules node_modules
COPY --from=files-cpu /app/dist dist
COPY --from=files-cpu /app/bin bin
COPY LICENSE ./
COPY models models
# runs/ takes the experiment log; nothing else is written.
RUN mkdir runs && chown 1000:1000 runs
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 8080}/health/ready`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/bin/winnow.mjs"]
CMD ["serve"]

FROM nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04 AS cuda
ENV NODE_ENV=production WINNOW_MODELS=/app/models ORT_DISABLE_TELEMETRY=1 WINNOW_INFERENCE_PROVIDER=cuda
# Some clusters mount the driver here instead of registering it with the linker.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/cuda/lib64
COPY --from=node:24-slim /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=files-cuda /app/package.json ./
COPY --from=files-cuda /app/node_modules node_modules
COPY --from=files-cuda /app/dist dist
COPY --from=files-cuda /app/bin bin
COPY LICENSE ./
COPY models models
RUN mkdir runs && chown 1000:1000 runs
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 8080}/health/ready`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/bin/winnow.mjs"]
CMD ["serve"]

# syntax=docker/dockerfile:1
# One file, four images, for linux/amd64 and linux/arm64 (CUDA: linux/amd64):
#   docker build --target cpu -t winnow:cpu .                 with the shipped models; cpu-bare has none
#   docker build --target cuda -t winnow:cuda .               the same for NVIDIA cards; cuda-bare has none
#   docker buildx build --platform linux/amd64,linux/arm64 --target cpu …
# Every RUN is in a stage of the building platform, so that no instruction needs the processor of the image.
# `npm run test:image` builds it for this processor with buildah, runs it, and prints sizes; test/e2e/image.test.ts carries out the steps in plain folders.

ARG NODE_IMAGE=node:24-slim@sha256:a9f5f7c91a432850b2a8a7797adf5eadb6c733ceed61167806cee7ea7fbc29df
ARG CUDA_IMAGE=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04@sha256:ac55d124da4882b497f732d8dfd9a702d5447a5f29d08d56da6f64f0a1eb34bc

FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
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
# runs/ takes the experiment log, cache/ models of a hub; group 0 may write there, for clusters that choose the user.
RUN mkdir runs cache && chmod 0775 runs cache
ARG SOURCE_DATE_EPOCH
RUN node docker/sbom.mjs sbom.cdx.json

FROM build AS files-cpu
ARG TARGETARCH
RUN node docker/prune.mjs --arch="${TARGETARCH}"
RUN node docker/compile-cache.mjs --arch="${TARGETARCH}"

FROM build AS files-cuda
RUN ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js
RUN node docker/prune.mjs --arch=amd64
RUN node docker/compile-cache.mjs --arch=amd64

FROM ${NODE_IMAGE} AS cpu-bare
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="winnow" org.opencontainers.image.description="Serves, trains and judges re-rankers" org.opencontainers.image.licenses="Apache-2.0" org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production WINNOW_MODELS=/app/models ORT_DISABLE_TELEMETRY=1 XDG_CACHE_HOME=/app/cache
WORKDIR /app
COPY --from=files-cpu /app/node_modules node_modules
COPY --from=files-cpu /app/dist dist
COPY --from=files-cpu /app/bin bin
COPY --from=files-cpu /app/compile-cache compile-cache
COPY --from=files-cpu /app/package.json /app/sbom.cdx.json ./
COPY --from=files-cpu --chown=1000:0 /app/runs runs
COPY --from=files-cpu --chown=1000:0 /app/cache cache
COPY LICENSE ./
USER 1000:0
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["node", "/app/bin/winnow.mjs", "health"]
ENTRYPOINT ["node", "/app/bin/winnow.mjs"]
CMD ["serve"]

FROM cpu-bare AS cpu
COPY models models

FROM ${CUDA_IMAGE} AS cuda-bare
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="winnow" org.opencontainers.image.description="Serves, trains and judges re-rankers" org.opencontainers.image.licenses="Apache-2.0" org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production WINNOW_MODELS=/app/models ORT_DISABLE_TELEMETRY=1 XDG_CACHE_HOME=/app/cache WINNOW_INFERENCE_PROVIDER=cuda
# Some clusters mount the driver here instead of registering it with the linker.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/cuda/lib64
COPY --from=build /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=files-cuda /app/node_modules node_modules
COPY --from=files-cuda /app/dist dist
COPY --from=files-cuda /app/bin bin
COPY --from=files-cuda /app/compile-cache compile-cache
COPY --from=files-cuda /app/package.json /app/sbom.cdx.json ./
COPY --from=files-cuda --chown=1000:0 /app/runs runs
COPY --from=files-cuda --chown=1000:0 /app/cache cache
COPY LICENSE ./
USER 1000:0
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["node", "/app/bin/winnow.mjs", "health"]
ENTRYPOINT ["node", "/app/bin/winnow.mjs"]
CMD ["serve"]

FROM cuda-bare AS cuda
COPY models models

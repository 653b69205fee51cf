#!/bin/bash
# Joins and verifies the parts that `npm run gpu:bundle` wrote, unpacks them, and runs the benchmark of the card:
#   bash unpack.sh PARTS TARGET [flags of bench:gpu]
# PARTS is the folder with part-000 and so on, SHA256SUMS, SIZES and this file. Parts that came in pieces are put into one folder first. TARGET is made; if an
# earlier call has filled it, it is used as it is. Needs bash, coreutils, gzip and tar; no network.
set -euo pipefail
export PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
if [ $# -lt 2 ]; then
  echo "usage: bash unpack.sh PARTS TARGET [flags of bench:gpu]" >&2
  exit 2
fi
parts=$(cd "$1" && pwd)
target=$2
shift 2

if [ ! -e "$target/unpacked" ]; then
  missing=$(cd "$parts" && awk '{print $2}' SHA256SUMS | while read -r name; do [ -e "$name" ] || echo "$name"; done)
  if [ -n "$missing" ]; then
    echo "expected all parts of SHA256SUMS in $parts, missing:" $missing >&2
    exit 1
  fi
  (cd "$parts" && sha256sum --check --quiet SHA256SUMS)
  mkdir -p "$target"
  read -r first _ <"$parts/SIZES"
  joined() { (cd "$parts" && awk '{print $2}' SHA256SUMS | xargs cat); }
  # The first file is Node, by gzip; Node then reads the second, a tar file by zstd. `head` ends its pipe early, which `cat` would complain of.
  (set +o pipefail; joined 2>/dev/null | head -c "$first") | gzip -d >"$target/node"
  chmod +x "$target/node"
  joined | tail -c "+$((first + 1))" |
    "$target/node" -e 'process.stdin.pipe(require("node:zlib").createZstdDecompress()).pipe(process.stdout)' |
    tar -x -C "$target"
  touch "$target/unpacked"
fi
cd "$target"
export ORT_DISABLE_TELEMETRY=1
exec ./node bench/gpu.ts "$@"

#!/usr/bin/env bash
# Generates the committed stubs. With --check: fails if the committed ones differ.
# protoc runs in an environment of its own: its protobuf may be another one than the services'.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${TWOFOLD_TOOLS_VENV:-.venv-tools}
[ -x "$tools/bin/protoc-gen-mypy" ] || { python3 -m venv "$tools"; "$tools/bin/pip" install -q -r tools/protos-requirements.txt; }
out=.
[ "${1:-}" = --check ] && { out=$(mktemp -d); trap 'rm -rf "$out"' EXIT; }
generate() { PATH="$PWD/$tools/bin:$PATH" "$tools/bin/python" -m grpc_tools.protoc -I protos --python_out="$out" --pyi_out="$out" "$@"; }
(cd protos && find twofold -name '*.proto' | sort) | xargs bash -c "$(declare -f generate)"'; out='"$out"' tools='"$tools"' generate "$@"' _
services=(twofold/v1/training.proto twofold/v1/dataset.proto twofold/v1/model.proto)
out=$out tools=$tools generate --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" "${services[@]}"
if [ "$out" != . ]; then
  (cd "$out" && find . -name '*_pb2*') | while read -r file; do
    cmp -s "$out/$file" "$file" || { echo "stub $file is stale: run 'make protos'" >&2; exit 1; }
  done
fi

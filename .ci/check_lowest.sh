#!/bin/sh
# Try every command on the lowest versions that pyproject.toml allows: sh .ci/check_lowest.sh [PYTHON [uv's options]].
# Needs uv. Run it when a bound changes: sh .ci/check_lowest.sh 3.11 --torch-backend cpu
set -eu
cd "$(dirname "$0")/.."
python=${1:-3.11}
[ $# -gt 0 ] && shift
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
uv venv --quiet --python "$python" "$venv"
uv pip install --quiet --python "$venv/bin/python" --resolution lowest-direct "$@" ".[onnx]"
uv pip freeze --quiet --python "$venv/bin/python"
sh .ci/try_commands.sh "$venv/bin/nas"

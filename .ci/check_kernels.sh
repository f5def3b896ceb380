#!/bin/sh
# Try the kernels on the lowest torch and Triton that pyproject.toml allows, and on the newest:
# sh .ci/check_kernels.sh [FOLDER [PYTEST'S OPTIONS]]. Some 5 GB each, kept in FOLDER (default: a temporary one).
# Needs no GPU: kernels are compiled ahead of time, launched over a stub of the driver, and interpreted.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-}
[ $# -gt 0 ] && shift
if [ -z "$folder" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi

# Install what the tests need and no more: $1 is the folder, the others are requirements.
install() {
    venv=$1
    shift
    [ -x "$venv/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$venv"
    "$venv/bin/pip" install --quiet "$@" pytest pytest-xdist pyyaml
}

# Its torch holds back Triton; NumPy 2.4 breaks its interpreter: range(tl.program_id(0)) raises.
lowest=$(sed -n 's/^ *"torch>=\([0-9.]*\),.*/\1/p' pyproject.toml)
triton=$(sed -n 's/^triton = \["triton>=\([0-9.]*\),.*/\1/p' pyproject.toml)
install "$folder/oldest" "torch==$lowest.*" "triton==$triton.*" "numpy<2.4"
install "$folder/newest" torch triton numpy

# Triton 3.6's interpreter makes a scalar of an array of one element, which every NumPy from 1.25 on warns of.
interpreter="Conversion of an array with ndim > 0 to a scalar is deprecated"
failed=0
for which in oldest newest; do
    quiet=
    [ "$which" = oldest ] && quiet="-Wignore:$interpreter:DeprecationWarning:triton.runtime.interpreter"
    python="$folder/$which/bin/python"
    "$python" -c 'import numpy, torch, triton; print("torch", torch.__version__, "triton", triton.__version__, "numpy", numpy.__version__)'
    "$python" -m pytest -q -p no:cacheprovider --ignore-glob='*test_onnx.py' --ignore-glob='*test_fvcore.py' \
        ${quiet:+"$quiet"} "$@" tests/nas/ops || failed=1
    "$python" benchmarks/kernels/stacks.py || failed=1  # the tests compile a sample of it
done
exit $failed

#!/bin/sh
# Make .venv and install this project into it: sh .ci/install.sh [EXTRA]. The Makefile calls it.
#   PYTHON  the interpreter to make .venv with; empty: the first of python3, python3.13, 3.12 and 3.11 that fits
#   TORCH   auto: PyTorch's CPU build on Linux without an NVIDIA GPU (PyPI's is the CUDA build, 3 GB), else PyPI's build;
#           pypi: what pip finds; or a build that uv knows by name: cpu, cu126, cu130, rocm7.2, xpu, ...
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
unfinished=.venv/.unfinished # lies there while .venv is being changed: who finds it starts afresh

say() { echo "install: $*" >&2; }
fail() { say "$*" && exit 2; }
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
version() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo "not there"; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || fail "Python 3.11, 3.12 or 3.13 is needed, but PYTHON=$PYTHON is $(version "$PYTHON")"
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if fits "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11, 3.12 or 3.13 is needed, but python3 is $(version python3); name one: make search PYTHON=/path/to/python3.12"
}

make_venv() {
  if [ -e "$unfinished" ]; then
    say "the last installation was interrupted: .venv is made anew"
    rm -rf .venv
  fi
  if [ -x $python ]; then
    fits $python || fail "Python 3.11, 3.12 or 3.13 is needed, but .venv holds $(version $python): 'make clean' removes it"
  else
    base=$(find_python)
    mkdir -p .venv && touch "$unfinished"
    "$base" -m venv .venv || fail "$base could not make .venv (Debian and Ubuntu: apt install python3-venv)"
  fi
  $python -m pip --version >/dev/null 2>&1 || $python -m ensurepip >/dev/null || fail ".venv has no pip: 'make clean' removes it"
}

has_nvidia_gpu() { ls /dev/nvidia[0-9]* >/dev/null 2>&1 || nvidia-smi -L >/dev/null 2>&1; }

# Which build of torch to ask uv for; pypi: none, pip installs what it finds.
choose_torch() {
  if [ "${TORCH:-auto}" != auto ]; then
    echo "$TORCH"
  elif [ "$(uname -s)" = Linux ] && ! has_nvidia_gpu; then
    echo cpu
  else
    echo pypi
  fi
}

# uv knows where the PyTorch project keeps its builds. What NVIDIA's packages are pinned to is meant for PyPI's build alone.
install_torch() {
  grep -vE '^(nvidia|cuda)-' constraints.txt >.venv/.constraints
  pip install "$(grep '^uv==' constraints.txt)" || return 1
  torch="uv pip install --quiet --python $python --torch-backend $1 -c .venv/.constraints torch"
  # A dry run first, since it soon says whether the index answers.
  UV_HTTP_RETRIES=1 $python -m $torch --dry-run && $python -m $torch
}

pip() { $python -m pip --disable-pip-version-check --quiet "$@"; }

make_venv
touch "$unfinished"
trap 'exit 130' INT TERM # leaves the mark
constraints=constraints.txt
build=$(choose_torch)
say "into .venv, with torch's build '$build'; this takes minutes the first time"
if [ "$build" != pypi ]; then
  if install_torch "$build" >.venv/.uv-said 2>&1; then
    constraints=.venv/.constraints
  elif [ "${TORCH:-auto}" = auto ]; then
    say "the PyTorch project's index does not answer: pip takes torch from where it looks; PyPI's is the CUDA build, 3 GB"
  else
    cat .venv/.uv-said >&2
    rm -f "$unfinished"
    fail "TORCH=$TORCH cannot be installed; TORCH=pypi takes PyPI's build"
  fi
fi
pip install -c $constraints -e ".${1:+[$1]}" || {
  rm -f "$unfinished" # pip ended by itself, and it changes nothing before it has all that it needs
  fail "pip could not install: see above"
}
rm -f "$unfinished"

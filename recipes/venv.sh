# Makes ./.venv with vqspeech and what the recipe and the tests need; sourced by both.
#
# Sets PYTHON to the interpreter to use. A second run compares a stamp and returns at once; the stamp is written last, so an
# interrupted installation is taken up again. VQSPEECH_PYTHON names another interpreter that has everything already (a
# container, a GPU machine), and then nothing is made or installed. An active virtual or conda environment is left alone.
# shellcheck shell=bash

venv_extras="train,analysis,mini,align,eval,formats,cluster,demo,onnx,hub,docs,dev,notebooks"

venv_fail() {
  printf 'vqspeech: %s\n' "$1" >&2
  return 1
}

venv_find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3 python; do
    # Run it: a version manager's shim exists even where the version behind it does not.
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  venv_fail "no Python 3.11, 3.12 or 3.13 found: install one (on Debian and Ubuntu: apt-get install python3.11 python3.11-venv)"
}

venv_ensure() {
  local root=$1 venv=$1/.venv wanted base
  local stamp=$venv/vqspeech.stamp log=$venv/install.log
  if [[ -n ${VQSPEECH_PYTHON:-} ]]; then
    PYTHON=$VQSPEECH_PYTHON
    return
  fi
  PYTHON=$venv/bin/python
  # The folder is part of it: an editable installation points at where the tree was. So are the sources of the C++ engine.
  wanted="$(cat "$root"/{pyproject.toml,setup.py,vqspeech/sampling/cpp/*.{h,cpp}} | cksum) [$venv_extras] $root"
  if [[ -f $stamp && -x $PYTHON && $(<"$stamp") == "$wanted" ]]; then
    return
  fi
  if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
    base=$(venv_find_python) || return
    printf 'making .venv with %s\n' "$("$base" --version 2>&1)" >&2
    if ! "$base" -m venv --clear "$venv" >/dev/null; then
      venv_fail "$base cannot make $venv: install its venv module (on Debian: apt-get install python3.11-venv)"
      return
    fi
  fi
  if [[ -f $stamp ]]; then
    printf 'installing vqspeech again: its requirements or its C++ sources have changed\n' >&2
  else
    printf 'installing vqspeech[%s] into .venv: several GB, some minutes, once\n' "$venv_extras" >&2
  fi
  if ! "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-input \
    --editable "${root}[${venv_extras}]" </dev/null >"$log" 2>&1; then
    venv_fail "packages could not be installed into .venv (is there a network?): $(grep -m1 ERROR "$log"); see $log"
    return
  fi
  if ! "$PYTHON" -c 'import vqspeech.sampling._native' 2>/dev/null; then
    printf 'the C++ engine is not built, and a slower one does its work: it needs g++ and the headers of Python\n' >&2
  fi
  printf '%s\n' "$wanted" >"$stamp"
}

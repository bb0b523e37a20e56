#!/usr/bin/env bash
# Everything that must pass: linters, types, shellcheck, the C++ engine under sanitizers, then the tests.
# Arguments, if any, go to pytest, which then runs alone.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=recipes/venv.sh
source recipes/venv.sh
venv_ensure "$PWD" || exit 1

# Two processes of one thread each beat one process of two threads on a two-core machine.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
if (($# > 0)); then
  exec "$PYTHON" -m pytest "$@"
fi
status=0
bash tests/lint.sh || status=1
bash tests/sampling/sanitize.sh || status=1
"$PYTHON" -m pytest -n 2 || status=1
exit "$status"

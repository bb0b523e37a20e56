#!/usr/bin/env bash
# Everything that must pass: linters, types, shellcheck, the C++ engine under sanitizers, then the tests.
# --fast: ruff, import-linter and those tests of every room that take least, under a minute on two idle cores.
# Other arguments, if any, go to pytest, which then runs alone.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=recipes/venv.sh
source recipes/venv.sh
venv_ensure "$PWD" || exit 1

# Two processes of one thread each beat one process of two threads on a two-core machine.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
if [[ $* == --fast ]]; then
  status=0
  "$PYTHON" -m ruff check . || status=1
  scripts=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
  "$scripts/lint-imports" --no-logo --no-cache || status=1
  mapfile -t fast < <(grep -v '^#' tests/fast.txt)
  "$PYTHON" -m pytest -q -n 2 -m "not slow" "${fast[@]}" || status=1
  exit "$status"
fi
# Tests of pages need a browser; where it is missing and cannot be installed they are skipped, with the reason.
browser_ensure() {
  local name
  for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && return
  done
  if ((EUID == 0)) && command -v apt-get >/dev/null; then
    printf 'installing Chromium for the tests of pages\n' >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq update >/dev/null 2>&1 </dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium >/dev/null 2>&1 </dev/null \
      || printf 'Chromium could not be installed: tests of pages will be skipped\n' >&2
  fi
}

if (($# > 0)); then
  exec "$PYTHON" -m pytest "$@"
fi
browser_ensure
status=0
bash tests/lint.sh || status=1
bash tests/sampling/sanitize.sh || status=1
"$PYTHON" -m pytest -n 2 || status=1
exit "$status"

#!/usr/bin/env bash
# Lint, format, types and shell: every check is run, and any finding makes the exit status 1.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=recipes/venv.sh
source recipes/venv.sh
venv_ensure "$PWD" || exit 1

status=0
check() {
  printf 'lint: %s\n' "$1"
  shift
  "$@" || status=1
}
check "ruff check" "$PYTHON" -m ruff check .
check "ruff format" "$PYTHON" -m ruff format --check .
check "mypy" "$PYTHON" -m mypy
check "shellcheck" "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/shellcheck" \
  --external-sources .ci/run recipes/*.sh recipes/*/*.sh tests/*.sh
exit "$status"

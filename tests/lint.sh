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
scripts=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
check "import-linter" "$scripts/lint-imports" --no-logo --no-cache
check "clang-format" "$scripts/clang-format" --style=file:vqspeech/sampling/cpp/.clang-format \
  --dry-run --Werror vqspeech/sampling/cpp/*.{h,cpp} tests/sampling/*.cpp
check "shellcheck" "$scripts/shellcheck" \
  --external-sources .ci/run recipes/*.sh recipes/*/*.sh tests/*.sh tests/*/*.sh
exit "$status"

#!/usr/bin/env bash
# Compiles the C++ sampling engine with the address, leak and undefined-behaviour sanitizers, every warning an error, and
# runs it on odd shapes. Skipped where there is no compiler; CXX names another than g++.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=recipes/venv.sh
source recipes/venv.sh
venv_ensure "$PWD"

compiler=${CXX:-g++}
if ! command -v "$compiler" >/dev/null; then
  printf 'sanitize: skipped, there is no %s\n' "$compiler" >&2
  exit 0
fi
cpp=vqspeech/sampling/cpp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-std=c++17 -Og -g1 -ffp-contract=off -pthread -I "$cpp" -Wall -Wextra -Werror -Wno-psabi)
sanitizers=(-fsanitize=address -fsanitize=undefined -fsanitize=float-cast-overflow -fno-sanitize-recover=all)

jobs=()
for source in "$cpp"/{portable,avx2,packing,sampler}.cpp tests/sampling/sanitize.cpp; do
  "$compiler" "${flags[@]}" "${sanitizers[@]}" -c "$source" -o "$work/$(basename "$source" .cpp).o" &
  jobs+=($!)
done
# The binding needs Python and is run by the tests; here it is only looked over for warnings.
read -ra includes <<<"$("$PYTHON" -m pybind11 --includes)"
"$compiler" "${flags[@]}" "${includes[@]}" -fsyntax-only "$cpp/binding.cpp" &
jobs+=($!)
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
((failed == 0)) || exit 1
"$compiler" "${flags[@]}" "${sanitizers[@]}" "$work"/*.o -o "$work/sanitize"
"$work/sanitize"

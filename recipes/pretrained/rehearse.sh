#!/usr/bin/env bash
# Rehearses a burst on this machine's CPU: packs speech made on the spot, then runs burst.py small, from an empty
# environment, with a Python that has only what bare.txt lists. REHEARSE_PYTHON names one; else .rehearse/ is made.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
burst=recipes/pretrained/burst.py
work=exp/rehearsal
# small batches: a second thread costs more than it gives
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# shellcheck source=recipes/venv.sh
source recipes/venv.sh
venv_ensure "$root" || exit 1

bare=${REHEARSE_PYTHON:-$root/.rehearse/bin/python}
if [[ -z ${REHEARSE_PYTHON:-} && ! -f .rehearse/installed ]]; then
  printf 'rehearsal: installing torch and a few more into .rehearse: several GB, some minutes, once\n'
  python3.12 -m venv --clear .rehearse
  "$bare" -m pip install --quiet --disable-pip-version-check -r recipes/pretrained/bare.txt
  touch .rehearse/installed
fi

if [[ ! -f $work/pack/pack.json ]]; then
  "$PYTHON" -m vqspeech prepare --corpus mini --out "$work/store"
  "$PYTHON" -m vqspeech pack "$work/store" --model vctk --out "$work/pack" --part-mb 40
fi
rm -rf "$work/out"

# Sections may fail on a machine without a compiler; that they all left something is what counts.
env -i OMP_NUM_THREADS=1 "$bare" "$burst" check --pack "$work/pack" --out "$work/out" --tiny --seconds 170 ||
  printf 'rehearsal: not every section came to its end; see above\n'
[[ -f $work/out/choice.json ]] || {
  printf 'rehearsal: no batch could be chosen\n' >&2
  exit 1
}
env -i OMP_NUM_THREADS=1 "$bare" "$burst" train --pack "$work/pack" --out "$work/out" --tiny --seconds 60
env -i OMP_NUM_THREADS=1 "$bare" "$burst" join "$work/out"
newest=$("$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["weights"]["file"])' "$work/out/train.json")
"$PYTHON" -m vqspeech info "$work/out/$newest" >"$work/info.txt"
printf 'rehearsal: ok\n'

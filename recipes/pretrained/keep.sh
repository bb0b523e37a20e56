#!/usr/bin/env bash
# Goes on with the shipped decoder in the background, at the lowest priority on one core, for as long as it is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=recipes/shell.sh
source "$root/recipes/shell.sh"

usage() {
  cat <<'END'
usage: bash recipes/pretrained/keep.sh start|status|stop [DIR] [options] [key=value ...]

  DIR             where state, weights and curve are (default: exp/keep)
  --corpus DIR    recordings to learn from, needed the first time
  --hours H       with start: learning rates fall to 0 within that time, instead of within 20,000 steps
  key=value       with start: settings for vqspeech train

start goes on where the last one ended: in a stretch that was stopped, or with a new one from the weights of the last, at
first from the model that ships. status shows steps, samples learned from in all, and the curve. The averaged weights,
DIR/run-N/model.safetensors, are written every three minutes; DIR copied to another machine goes on there.
END
}

fail() {
  printf 'keep.sh: %s\n' "$1" >&2
  exit 1
}

action=
folder=$root/exp/keep
corpus=
hours=
overrides=()
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      exit
      ;;
    --corpus | --hours)
      [[ -n ${2:-} ]] || fail "$1 needs a value (see --help)"
      if [[ $1 == --corpus ]]; then corpus=$(absolute "$2"); else hours=$2; fi
      shift 2
      ;;
    start | status | stop)
      action=$1
      shift
      ;;
    -*) fail "unknown option $1 (see --help)" ;;
    *=*)
      overrides+=("$1")
      shift
      ;;
    *)
      folder=$(absolute "$1")
      shift
      ;;
  esac
done
[[ -n $action ]] || fail "start, status or stop? (see --help)"
store=$folder/store

# The process that trains, if one does: a number alone may have gone to another program since.
running() {
  local pid
  [[ -f $folder/pid ]] || return 1
  pid=$(<"$folder/pid")
  [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *"$folder/run-"* ]] || return 1
  printf '%s\n' "$pid"
}

last_stretch() {
  local number=1
  while [[ -d $folder/run-$((number + 1)) ]]; do number=$((number + 1)); done
  printf '%s\n' "$number"
}

# shellcheck source=recipes/venv.sh
source "$root/recipes/venv.sh"

start() {
  local pid number setting init=vctk
  if pid=$(running); then
    printf 'keep.sh: trains already, process %s in %s\n' "$pid" "$folder"
    return
  fi
  venv_ensure "$root" || exit 1
  if [[ ! -f $store/store.json ]]; then
    [[ -n $corpus ]] || fail "no store in $folder yet: give --corpus DIR"
    "$PYTHON" -m vqspeech prepare --corpus "$corpus" --out "$store"
  fi
  number=$(last_stretch)
  if [[ -f $folder/run-$number/metrics.json ]]; then number=$((number + 1)); fi
  if ((number > 1)); then init=$folder/run-$((number - 1))/model.safetensors; fi
  if [[ -n $hours ]]; then
    overrides=("run.deadline_s=$(awk -v h="$hours" 'BEGIN { print 3600 * h }')" "${overrides[@]}")
  fi
  for setting in "${overrides[@]}"; do
    if [[ $setting == init=* ]]; then init=${setting#init=}; fi
  done
  export OMP_NUM_THREADS=1
  nohup setsid nice -n 19 "$PYTHON" -m vqspeech train experiment=vctk machine=cpu init_wavenet= "init=$(quoted "$init")" \
    spectral.weight=0 spectral.steps=0 "data.store=$(quoted "$store")" \
    optimizer.steps=20000 optimizer.learning_rate=7e-4 optimizer.muon_learning_rate=2.8e-3 run.seed="$number" \
    run.save_every_s=180 "run.dir=$(quoted "$folder/run-$number")" resume=auto "${overrides[@]}" \
    >>"$folder/log" 2>&1 </dev/null &
  printf '%s\n' "$!" >"$folder/pid"
  sleep 1
  running >/dev/null || fail "did not start: $(tail -n 1 "$folder/log")"
  printf 'keep.sh: stretch %s from %s, process %s, log %s\n' "$number" "$init" "$!" "$folder/log"
}

stop() {
  local pid
  pid=$(running) || fail "nothing trains in $folder"
  kill -TERM "$pid"
  for _ in {1..3000}; do
    running >/dev/null || break
    sleep 0.1
  done
  if running >/dev/null; then fail "process $pid is still busy, with a validation perhaps; it stops after that"; fi
  tail -n 1 "$folder/log"
}

status() {
  local pid
  if pid=$(running); then
    printf 'trains, process %s\n' "$pid"
  else
    printf 'does not train\n'
  fi
  [[ -d $folder ]] || return 0
  # a Python with nothing in it: this shall be quick
  "${PYTHON:-$(venv_find_python)}" - "$folder" <<'END'
import json
import math
import sys
from pathlib import Path

runs = sorted(Path(sys.argv[1]).glob("run-*"), key=lambda run: int(run.name.partition("-")[2]))
entry = {}
for run in runs:
    curve = run / "curve.jsonl"
    lines = curve.read_text().splitlines() if curve.is_file() else []
    for entry in map(json.loads, lines):
        if "valid_nats_per_sample" in entry:
            nats, shuffled = entry["valid_nats_per_sample"], entry["valid_shuffled_bits"] * math.log(2)
            line = f"{run.name}, step {entry['step']:6}: {nats:.4f} nats held out, {shuffled:.4f} with codes shuffled"
            given = entry.get("valid_contour_nats")
            print(line if given is None else f"{line}, {given:.4f} given the pitch contour")
if entry:
    before = 0
    for model in reversed([run / "model.safetensors" for run in runs]):
        if model.is_file():
            with model.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            training = json.loads(header["__metadata__"]["vqspeech"])["training"]
            before = training["samples_seen_before"]
            break
    total = (entry["samples"] + before) / 1e6
    print(f"step {entry['step']} of {runs[-1].name}; {total:.1f} M samples learned from in all")
END
}

"$action"

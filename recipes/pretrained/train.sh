#!/usr/bin/env bash
# Trains a model that ships, scores it and puts it with its card into the package. Stop it when you like: run again, on this
# machine or with EXP and DATA copied to another, it goes on from the last state.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=recipes/shell.sh
source "$root/recipes/shell.sh"

usage() {
  cat <<'END'
usage: bash recipes/pretrained/train.sh vctk|phoneme25 [options] [key=value ...]

  --corpus DIR    recordings with a manifest.tsv, or any tree that vqspeech prepare takes; needed the first time
  --exp DIR       where training state, model and scores go (default: exp/pretrained)
  --data DIR      where the packed store goes (default: data)
  --targets NAMES speakers that the score converts anyone to (default: the first four by name with recordings)
  --machine NAME  a configuration in conf/machine (default: gpu where there is one, else cpu)
  --ship-only     do not train on: score and ship the model as the last validation left it
  key=value       settings for vqspeech train, for example run.devices=2 optimizer.steps=20000
END
}

fail() {
  printf 'train.sh: %s\n' "$1" >&2
  exit 1
}

name=
corpus=
exp=$root/exp/pretrained
data=$root/data
machine=
targets=
train=yes
overrides=()
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      exit
      ;;
    --corpus | --exp | --data | --targets | --machine)
      [[ -n ${2:-} ]] || fail "$1 needs a value (see --help)"
      case $1 in
        --corpus) corpus=$(absolute "$2") ;;
        --exp) exp=$(absolute "$2") ;;
        --data) data=$(absolute "$2") ;;
        --targets) targets=$2 ;;
        --machine) machine=$2 ;;
      esac
      shift 2
      ;;
    --ship-only)
      train=
      shift
      ;;
    vctk | phoneme25)
      name=$1
      shift
      ;;
    *=*)
      overrides+=("$1")
      shift
      ;;
    *) fail "'$1' is neither vctk nor phoneme25 nor an option nor a key=value setting (see --help)" ;;
  esac
done
[[ -n $name ]] || fail "which model, vctk or phoneme25? (see --help)"
store=$data/pretrained/store
[[ -n $corpus || -f $store/store.json ]] || fail "no store in $store yet: give --corpus DIR"
[[ -z $corpus || -d $corpus ]] || fail "--corpus $corpus: no such folder"

# shellcheck source=recipes/venv.sh
source "$root/recipes/venv.sh"
venv_ensure "$root" || exit 1
# A batch is one segment on a CPU: a second thread costs more than it gives.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

if [[ -z $machine ]]; then
  machine=cpu
  if "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then machine=gpu; fi
fi
run=$exp/$name
model=$run/model.safetensors

if [[ ! -f $store/store.json ]]; then
  "$PYTHON" -m vqspeech prepare --corpus "$corpus" --out "$store"
fi
if [[ -n $train ]]; then
  "$PYTHON" -m vqspeech train "experiment=$name" "machine=$machine" \
    "data.store=$(quoted "$store")" "run.dir=$(quoted "$run")" resume=auto "${overrides[@]}"
  # stopped by a signal: the state is there, the rest is for a run that goes to the end
  [[ -f $run/metrics.json ]] || exit 0
  if [[ $name == vctk ]]; then
    # the spectrum that its post-filter moves speech towards, and the distribution of its pitch contours
    for part in spectrum contours; do
      "$PYTHON" -m vqspeech train "experiment=$part" "machine=$machine" "init=$(quoted "$model")" \
        "data.store=$(quoted "$store")" "run.dir=$(quoted "$run/$part")" resume=auto
      model=$run/$part/model.safetensors
      [[ -f $run/$part/metrics.json ]] || exit 0
    done
  fi
fi
[[ -f $model ]] || fail "$model: no validation has written a model yet"
"$PYTHON" "$root/recipes/pretrained/ship.py" "$model" "$name" --store "$store"
# phoneme25 is for its codes: a few of its conversions are enough
count=()
[[ $name == vctk ]] || count=(--utterances 4)
"$PYTHON" -m vqspeech evaluate --model "$name" --corpus "$store" --out "$run/evaluation" --force \
  "${count[@]}" ${targets:+--targets "$targets"}
"$PYTHON" "$root/recipes/pretrained/ship.py" "$name" "$name" --evaluation "$run/evaluation/evaluation.json"
"$PYTHON" "$root/recipes/pretrained/card.py" "$name"

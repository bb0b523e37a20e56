#!/usr/bin/env bash
# Trains a prior over the codes of a shipped model, measures it and puts it with its figures into the package. Stop it when you
# like: run again, it goes on from the last state. Codes and run lie in a folder named by the codebook: of another one, another.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=recipes/shell.sh
source "$root/recipes/shell.sh"

usage() {
  cat <<'END'
usage: bash recipes/pretrained/prior.sh vctk [options] [key=value ...]

  --store DIR     the packed store that the model was trained on (default: data/pretrained/store, where train.sh makes it)
  --exp DIR       where codes, training state and figures go (default: exp/pretrained)
  --count N       recordings that a recogniser hears of each kind (default: 20; 0 for none)
  key=value       settings for vqspeech train, for example optimizer.steps=1000 run.accelerator=cpu
END
}

fail() {
  printf 'prior.sh: %s\n' "$1" >&2
  exit 1
}

name=
store=$root/data/pretrained/store
exp=$root/exp/pretrained
count=20
overrides=()
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      exit
      ;;
    --store | --exp | --count)
      [[ -n ${2:-} ]] || fail "$1 needs a value (see --help)"
      case $1 in
        --store) store=$(absolute "$2") ;;
        --exp) exp=$(absolute "$2") ;;
        --count) count=$2 ;;
      esac
      shift 2
      ;;
    *=*)
      overrides+=("$1")
      shift
      ;;
    -*) fail "'$1' is no option (see --help)" ;;
    *)
      [[ -z $name ]] || fail "one model, not both $name and $1 (see --help)"
      name=$1
      shift
      ;;
  esac
done
[[ -n $name ]] || fail "over the codes of which model? (see --help)"
[[ -f $store/store.json ]] || fail "--store $store: no packed store; train.sh or vqspeech prepare makes one"

# shellcheck source=recipes/venv.sh
source "$root/recipes/venv.sh"
venv_ensure "$root" || exit 1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

codebook=$("$PYTHON" -m vqspeech info "$name" --json | sed -n 's/^ *"codebook_id": "\(.*\)",$/\1/p')
[[ -n $codebook ]] || fail "$name: no model with codes"
run=$exp/$name-prior/$codebook
"$PYTHON" -m vqspeech train --config-name prior "prior.model=$name" \
  "data.store=$(quoted "$store")" "run.dir=$(quoted "$run")" resume=auto "${overrides[@]}"
# stopped by a signal: the state is there, the rest is for a run that goes to the end
[[ -f $run/metrics.json ]] || exit 0
"$PYTHON" "$root/recipes/pretrained/ship.py" "$run/prior.safetensors" "$name" --prior --store "$store"
"$PYTHON" "$root/recipes/pretrained/prior_figures.py" "$name" --store "$store" --codes "$run/codes" \
  --count "$count" --out "$run/figures.json"
"$PYTHON" "$root/recipes/pretrained/ship.py" "$name" "$name" --prior --evaluation "$run/figures.json"
"$PYTHON" "$root/recipes/pretrained/card.py" "$name"

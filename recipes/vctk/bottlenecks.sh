#!/usr/bin/env bash
# The bottlenecks of the paper under one encoder and one decoder: trained, scored and compared on one page.
#
# Trainings run beside one another, one thread each. What is finished is skipped, what was interrupted goes on; kinds and
# seeds may be added later.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
recipe=$root/recipes/vctk
# shellcheck source=recipes/shell.sh
source "$root/recipes/shell.sh"

usage() {
  cat <<'END'
usage: bash recipes/vctk/bottlenecks.sh [options] [key=value ...] [KIND:key=value ...]

  --corpus mini|vctk|DIR  speech made on the spot (default); VCTK 0.92, downloaded; a tree you have
  --kinds LIST            of gaussian,gumbel,none,vimco,vq,vq_ema (default: all, in this order)
  --seeds LIST            (default: 0)
  --codes K               codes of those kinds that have any (default: 64 for mini, else 512)
  --jobs N                trainings beside one another (default: one for each CPU; for a GPU, say 1)
  --config NAME           a configuration in conf/experiment (default: bottlenecks for mini, else bottlenecks_real)
  --exp DIR               where models and results go (default: exp/NAME-OF-CORPUS-bottlenecks)
  --data DIR              where the corpus and its packed store go (default: data)
  key=value               settings for every training, for example optimizer.steps=2000
  KIND:key=value          settings for one kind, for example gaussian:model.bottleneck.free_bits=6
END
}

fail() {
  printf 'bottlenecks.sh: %s\n' "$1" >&2
  exit 1
}

corpus=mini
mapfile -t known < <(basename -s .yaml "$root"/conf/bottleneck/*.yaml)
kinds=("${known[@]}")
seeds=(0)
codes=
jobs=$(nproc)
config=
exp=
data=$root/data
overrides=()
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      exit
      ;;
    --corpus=* | --kinds=* | --seeds=* | --codes=* | --jobs=* | --config=* | --exp=* | --data=*)
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
      continue
      ;;
    --corpus | --kinds | --seeds | --codes | --jobs | --config | --exp | --data)
      [[ -n ${2:-} ]] || fail "$1 needs a value (see --help)"
      case $1 in
        --corpus) corpus=$2 ;;
        --kinds) IFS=, read -ra kinds <<<"$2" ;;
        --seeds) IFS=, read -ra seeds <<<"$2" ;;
        --codes) codes=$2 ;;
        --jobs) jobs=$2 ;;
        --config) config=$2 ;;
        --exp) exp=$(absolute "$2") ;;
        --data) data=$(absolute "$2") ;;
      esac
      shift 2
      ;;
    -*) fail "unknown option $1 (see --help)" ;;
    *=*)
      overrides+=("$1")
      shift
      ;;
    *) fail "'$1' is neither an option nor a key=value setting (see --help)" ;;
  esac
done
for kind in "${kinds[@]}"; do
  [[ " ${known[*]} " == *" $kind "* ]] || fail "--kinds: '$kind' is not one of ${known[*]}"
done
for number in "${seeds[@]}"; do
  [[ $number =~ ^[0-9]{1,9}$ ]] || fail "--seeds: '$number' is not a whole number"
done
for number in "$jobs" "${codes:-1}"; do
  [[ $number =~ ^[1-9][0-9]{0,5}$ ]] || fail "'$number' is not a whole number above 0 (see --help)"
done
for setting in "${overrides[@]}"; do
  [[ $setting != *:*=* || ${setting%%=*} != *:* || " ${known[*]} " == *" ${setting%%:*} "* ]] ||
    fail "'$setting': '${setting%%:*}' is not one of ${known[*]}"
done

case $corpus in
  mini) name=mini ;;
  vctk) name=vctk ;;
  *)
    [[ -d $corpus ]] || fail "--corpus $corpus: no such folder (nor is it mini or vctk)"
    corpus=$(cd "$corpus" && pwd -P)
    name=$(basename "$corpus")
    ;;
esac
if [[ $corpus == mini ]]; then
  config=${config:-bottlenecks}
  codes=${codes:-64}
else
  config=${config:-bottlenecks_real}
  codes=${codes:-512}
fi
exp=${exp:-$root/exp/$name-bottlenecks}
store=$data/$name/store

# shellcheck source=recipes/venv.sh
source "$root/recipes/venv.sh"
venv_ensure "$root" || exit 1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

bash "$recipe/run.sh" --corpus "$corpus" --data "$data" --exp "$exp" --stop-stage prepare

signature="$store experiment=$config codes=$codes ${overrides[*]}"
if [[ -f $exp/settings ]]; then
  [[ $(<"$exp/settings") == "$signature" ]] ||
    fail "$exp was made with other settings ($(<"$exp/settings")): choose another --exp"
else
  mkdir -p "$exp"
  printf '%s\n' "$signature" >"$exp/settings.part"
  mv "$exp/settings.part" "$exp/settings"
fi

# one KIND SEED: train and probe it, or what of that is not done yet.
one() {
  local kind=$1 run=$exp/$1-$2 setting own=() started=$SECONDS
  ! grep -q "^codebook_size:" "$root/conf/bottleneck/$kind.yaml" || own=("model.bottleneck.codebook_size=$codes")
  for setting in "${overrides[@]}"; do
    case $setting in
      "$kind":*) own+=("${setting#*:}") ;;
      *:*=*) [[ ${setting%%=*} == *:* ]] || own+=("$setting") ;;
      *) own+=("$setting") ;;
    esac
  done
  mkdir -p "$run"
  if [[ ! -f $run/metrics.json ]]; then
    run_to_end "$PYTHON" -m vqspeech train "experiment=$config" "bottleneck=$kind" \
      "data.store=$(quoted "$store")" "run.dir=$(quoted "$run")" "run.seed=$2" resume=auto "${own[@]}" \
      >>"$run/train.log" 2>&1 || return
    [[ -f $run/metrics.json ]] || return 0
    printf '%s-%s: trained and scored in %d s\n' "$kind" "$2" $((SECONDS - started))
  fi
  if [[ ! -f $run/probes.json ]]; then
    run_to_end "$PYTHON" "$recipe/local/probe_latents.py" --store "$store" \
      --model "$run/model.safetensors" --out "$run/probes.json" >>"$run/train.log" 2>&1 || return
  fi
}

stopping=
stop() {
  local children
  stopping=yes
  mapfile -t children < <(jobs -rp)
  ((${#children[@]} == 0)) || kill -TERM "${children[@]}" 2>/dev/null || true
}
trap stop INT TERM

runs=()
for seed in "${seeds[@]}"; do
  for kind in "${kinds[@]}"; do
    [[ -z $stopping ]] || break 2
    runs+=("$kind-$seed")
    [[ ! -f $exp/$kind-$seed/probes.json ]] || continue
    while (($(jobs -rp | wc -l) >= jobs)); do wait -n || true; done
    [[ -z $stopping ]] || break 2
    printf '%s-%s: training, its log is %s\n' "$kind" "$seed" "$exp/$kind-$seed/train.log"
    one "$kind" "$seed" &
  done
done
while (($(jobs -rp | wc -l) > 0)); do wait -n || true; done
trap - INT TERM
[[ -z $stopping ]] || fail "interrupted: run again to go on"
for run in "${runs[@]}"; do
  [[ -f $exp/$run/probes.json ]] ||
    fail "$run ended before its work was done: see the end of $exp/$run/train.log, and run again to go on"
done

if [[ ! -f $exp/mfcc.json ]]; then
  "$PYTHON" "$recipe/local/probe_latents.py" --store "$store" --mfcc "$exp/${runs[0]}/model.safetensors" \
    --out "$exp/mfcc.json"
fi
"$PYTHON" "$recipe/local/compare_bottlenecks.py" "$exp" "${runs[@]}"
cat "$exp/bottlenecks.md"

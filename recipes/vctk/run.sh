#!/usr/bin/env bash
# VCTK, or another corpus, from recordings to a trained model, codes, conversions, a phone analysis and a report.
#
# A finished stage leaves a marker, written last, that says what it was done with; a later run skips it. An interrupted
# stage is taken up again. Doing a stage again takes away the markers of those after it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
stages=(download prepare train codes convert analyze report)
# shellcheck source=recipes/shell.sh
source "$root/recipes/shell.sh"

usage() {
  cat <<'END'
usage: bash recipes/vctk/run.sh [options] [key=value ...]

  --corpus mini|vctk|DIR  speech made on the spot; VCTK 0.92, downloaded (default); a tree you have:
                          VCTK, speaker/utterance.wav, or one with a manifest.tsv
  --stage N|NAME          first stage (default: 0)
  --stop-stage N|NAME     last stage (default: 6)
  --config NAME           a configuration in conf/experiment (default: mini for mini, paper64 for vctk,
                          real for a tree you have)
  --exp DIR               where the model and all results go (default: exp/NAME-OF-CORPUS)
  --data DIR              where the corpus and its packed store go (default: data)
  key=value               settings for vqspeech train, for example optimizer.steps=2000

stages: 0 download, 1 prepare, 2 train, 3 codes, 4 convert, 5 analyze, 6 report
To do a stage again, remove its marker: EXP/done/N-NAME, for 0 and 1 DATA/NAME-OF-CORPUS/done/N-NAME.
END
}

fail() {
  printf 'run.sh: %s\n' "$1" >&2
  exit 1
}

stage_number() {
  local number
  for number in "${!stages[@]}"; do
    if [[ $1 == "$number" || $1 == "${stages[number]}" ]]; then
      printf '%s\n' "$number"
      return
    fi
  done
  fail "unknown stage '$1': a number from 0 to 6, or one of ${stages[*]}"
}

corpus=vctk
config=
exp=
data=$root/data
first=0
last=6
overrides=()
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      exit
      ;;
    --corpus=* | --stage=* | --stop-stage=* | --config=* | --exp=* | --data=*)
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
      continue
      ;;
    --corpus | --stage | --stop-stage | --config | --exp | --data)
      [[ -n ${2:-} ]] || fail "$1 needs a value (see --help)"
      case $1 in
        --corpus) corpus=$2 ;;
        --stage) first=$(stage_number "$2") ;;
        --stop-stage) last=$(stage_number "$2") ;;
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
((first <= last)) || fail "nothing to do: --stage $first comes after --stop-stage $last"

case $corpus in
  mini)
    name=mini
    corpus_dir=$data/mini/corpus
    ;;
  vctk)
    name=vctk
    corpus_dir=$data/vctk/VCTK-Corpus-0.92
    ;;
  *)
    [[ -d $corpus ]] || fail "--corpus $corpus: no such folder (nor is it mini or vctk)"
    corpus_dir=$(cd "$corpus" && pwd -P)
    name=$(basename "$corpus_dir")
    ;;
esac
rate=16000
case $corpus in
  mini)
    config=${config:-mini}
    # half the samples to learn: what lets the miniature be trained in minutes
    rate=8000
    ;;
  vctk) config=${config:-paper64} ;;
  *) config=${config:-real} ;;
esac
exp=${exp:-$root/exp/$name}
store=$data/$name/store
model=$exp/train/model.safetensors

# shellcheck source=recipes/venv.sh
source "$root/recipes/venv.sh"
venv_ensure "$root" || exit 1

marker_of() {
  if (($1 < 2)); then
    printf '%s\n' "$data/$name/done/$1-${stages[$1]}"
  else
    printf '%s\n' "$exp/done/$1-${stages[$1]}"
  fi
}

# Whether the store has phone labels in the split that codes are mapped on and in the one that is scored.
labelled() {
  awk -F '\t' '
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    $column["labels"] != "" { seen[$column["split"]] = 1; if (seen["train"] && seen["test"]) exit }
    END { exit !(seen["train"] && seen["test"]) }
  ' "$store/manifest.tsv"
}

# stage NUMBER SIGNATURE PRODUCT COMMAND...: run the command, unless the marker says that it was done with this signature.
stage() {
  local number=$1 signature=$2 product=$3 marker later started=$SECONDS
  local title="stage $number (${stages[number]})"
  shift 3
  ((first <= number && number <= last)) || return 0
  marker=$(marker_of "$number")
  if [[ -f $marker ]]; then
    [[ $(<"$marker") == "$signature" ]] || fail \
      "$title was done with other settings ($(<"$marker")): choose another --exp or --data, or remove $marker"
    printf '%s: done before\n' "$title"
    return
  fi
  for ((later = number + 1; later < ${#stages[@]}; later++)); do
    rm -f "$(marker_of "$later")"
  done
  printf '%s\n' "$title"
  run_to_end "$@" || exit
  [[ -e $product ]] || fail "$title ended before its work was done: run again to go on"
  mkdir -p "$(dirname "$marker")"
  printf '%s\n' "$signature" >"$marker.part"
  mv "$marker.part" "$marker"
  printf '%s: done in %d s\n' "$title" $((SECONDS - started))
}

# One page of the tables that conversions and analysis were scored in, each figure beside its baselines.
write_results() {
  {
    cat "$exp/converted/evaluation.md"
    if [[ -f $exp/analysis/scores.md ]]; then
      printf '\n'
      cat "$exp/analysis/scores.md"
      printf '\nPictures and examples to listen to: analysis/report.html, converted/evaluation.html.\n'
    else
      printf '\nThe corpus has no phone labels in train and test: codes were not held against phones.\n'
    fi
  } >"$exp/RESULTS.md.part"
  mv "$exp/RESULTS.md.part" "$exp/RESULTS.md"
}

vqspeech=("$PYTHON" -m vqspeech)
stored=(--model "$model" --corpus "$store" --force)
case $corpus in
  mini) stage 0 mini "$corpus_dir" "${vqspeech[@]}" prepare --corpus mini --download "$corpus_dir" ;;
  vctk) stage 0 vctk "$corpus_dir" "${vqspeech[@]}" prepare --corpus vctk --download "${corpus_dir%/*}" ;;
  *) stage 0 "$corpus_dir" "$corpus_dir" true ;;
esac
stage 1 "$corpus_dir" "$store/store.json" \
  "${vqspeech[@]}" prepare --corpus "$corpus_dir" --out "$store" --sample-rate "$rate"
stage 2 "experiment=$config ${overrides[*]}" "$exp/train/metrics.json" \
  "${vqspeech[@]}" train "experiment=$config" \
    "data.store=$(quoted "$store")" "run.dir=$(quoted "$exp/train")" resume=auto "${overrides[@]}"
stage 3 test "$exp/codes" \
  "${vqspeech[@]}" codes "${stored[@]}" --split test --out "$exp/codes"
# At temperature 1 a decoder that has trained for minutes whispers.
stage 4 test "$exp/converted/evaluation.json" \
  "${vqspeech[@]}" evaluate "${stored[@]}" --pairs 10 --temperature 0.8 --without speakers,words,quality,codes --no-phones \
    --keep-audio --out "$exp/converted"
if ((first > 5 || last < 5)) || [[ ! -f $store/manifest.tsv ]] || labelled; then
  stage 5 test "$exp/analysis/scores.json" \
    "${vqspeech[@]}" analyze "${stored[@]}" --out "$exp/analysis"
else
  printf 'stage 5 (analyze): left out, %s lists no phone labels for both train and test\n' "$store/manifest.tsv"
fi
stage 6 report "$exp/RESULTS.md" write_results
if ((last == 6)); then
  cat "$exp/RESULTS.md"
fi

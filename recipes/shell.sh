# What recipes share; sourced.
# shellcheck shell=bash

# Where a path given by the caller lies, whatever the working directory becomes.
absolute() {
  if [[ $1 == /* ]]; then printf '%s\n' "$1"; else printf '%s\n' "$PWD/$1"; fi
}

# A path as a value that Hydra takes as it is, with spaces, commas, brackets or quotes in it.
quoted() {
  printf "'%s'\n" "${1//\'/\\\'}"
}

# Hand an interruption on to the command as SIGTERM, on which training saves its state, and wait until it has ended.
run_to_end() {
  local child status=0
  "$@" &
  child=$!
  trap 'kill -TERM "$child" 2>/dev/null || true' INT TERM
  wait "$child" || status=$?
  while kill -0 "$child" 2>/dev/null; do
    status=0
    wait "$child" || status=$?
  done
  trap - INT TERM
  return "$status"
}

#!/bin/bash
# Send a filter job to Slurm: prepare, then an array of parts, then finish, each waiting for the one before it.
#
#   deploy/slurm/submit.sh PARTS [OPTIONS OF sbatch FOR THE PARTS ...] -- ARGUMENTS OF curator filter ...
#   deploy/slurm/submit.sh 64 --gres=gpu:1 --time=24:00:00 -- 'corpus/*.jsonl.zst' --neuron-set law --token-budget 2B --out shards/law
#
# Sources, neuron set and --out must be seen by all nodes under one path. When parts fail for good (afterany, not afterok), finishing
# makes what they left, so the job ends with the same bytes. Sent again, the whole chain goes on where it stopped.
# DRY_RUN=1 prints the three commands and sends nothing.
set -euo pipefail

usage="usage: $0 PARTS [OPTIONS OF sbatch ...] -- ARGUMENTS OF curator filter ..."
parts=${1:?$usage}
[[ $parts =~ ^[1-9][0-9]*$ ]] || { echo "$usage" >&2; exit 2; }
shift
options=()
while (($#)) && [[ $1 != -- ]]; do
  options+=("$1")
  shift
done
(($# > 1)) || { echo "$usage" >&2; exit 2; }
shift

script=$(dirname "$(readlink -f "$0")")/filter.sbatch
FILTER_ARGUMENTS=$(mktemp "${TMPDIR_SHARED:-$PWD}/curator-filter-XXXXXX.words")
export FILTER_ARGUMENTS
printf '%s\n' "$@" >"$FILTER_ARGUMENTS"

send() {
  if [[ -n ${DRY_RUN:-} ]]; then
    printf 'sbatch' >&2
    printf ' %q' "$@" >&2
    printf '\n' >&2
    echo "${*: -1}"
  else
    sbatch --parsable --export=ALL "$@"
  fi
}

prepared=$(send "$script" prepare)
scored=$(send --dependency="afterok:$prepared" --kill-on-invalid-dep=yes --array="1-$parts" "${options[@]}" "$script" part)
finished=$(send --dependency="afterok:$prepared,afterany:$scored" --kill-on-invalid-dep=yes "$script" finish)
echo "prepare $prepared, parts $scored, finish $finished; the words of the command are in $FILTER_ARGUMENTS"

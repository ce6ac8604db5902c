#!/usr/bin/env bash
# Builds targets of llama.cpp and says only how far it is: on a terminal in one line that is rewritten, elsewhere every 30 s.
# What ninja and the compilers say goes into a log, which is named when something fails.
#   build_llama.sh BUILD_FOLDER TARGET…
set -uo pipefail
folder=$1
shift
log=$folder/moescope-build.log

# Two builds (of several presets or checkouts) must not run in one folder at once.
exec {lock}>"$folder/.moescope-lock"
flock "$lock"

trap 'exit 130' INT TERM   # nothing failed then

shown=$SECONDS
show() {
    if [ -t 1 ]; then
        printf '\r\033[Kllama.cpp: %s of %s' "$1" "$2"
    elif ((SECONDS - shown >= 30)); then
        printf 'llama.cpp: %s of %s\n' "$1" "$2"
        shown=$SECONDS
    fi
}

NINJA_STATUS='[%f/%t] ' ninja -C "$folder" "$@" 2>&1 | while IFS= read -r line; do
    printf '%s\n' "$line" >&3
    [[ ! $line =~ ^\[([0-9]+)/([0-9]+)\]\  ]] || show "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
done 3>"$log"
status=${PIPESTATUS[0]}

[ ! -t 1 ] || printf '\r\033[K'
if [ "$status" != 0 ]; then
    printf 'llama.cpp does not build; all of it is in %s:\n' "$log" >&2
    {   # among hundreds of warnings
        grep -E '^FAILED: |error:|undefined reference' "$log" | grep -v '^\[' | head -n 10 | cut -c 1-300 | grep . ||
            tail -n 20 "$log"
    } >&2
fi
exit "$status"

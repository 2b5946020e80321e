#!/usr/bin/env bash
# Shows that each row of the requirements has a test that would notice its loss. Beside this script there is one mutation for
# each row: a diff that takes away what the row asks for, and says above it which rows' tests break. For each one, this
# applies it to a copy of the project, builds, runs the tests that carry a row's id, and compares.
#
#   tests/rows/check.sh [ROW...]        all of them, or these: tests/rows/check.sh C4 P5
#
# Exits with 1 if a diff doesn't apply any more, or if other tests break than it says. P7 and P8 need root and iproute2, and
# F10 needs tmux; a row takes a build and some 30 s, and a minute more where a test waits in vain.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
root=$(git -C "$here" rev-parse --show-toplevel) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Its own, so that it can't be mistaken for a build of the project as it is.
export CARGO_TARGET_DIR=$work/target
# What is built many times and runs for a minute is to be built quickly.
export CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0
# Where a machine can't run a row's tests, they fail instead of being left out.
export BITTORRENTISH_HOSTS=must

# The files that git knows or would know, as they are now.
copy() {
  rm -rf "$work/copy" && mkdir "$work/copy" && cd "$root" &&
    git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -m -C "$work/copy" &&
    cd "$work/copy"
}

# The rows in a text, each once and in order: "C4 F4".
rows_in() { grep -oE '\b[CFP][0-9]+\b' | sort -V -u | paste -sd ' '; }

# The rows of the tests on whose lines stands a word.
rows_of_tests() { sed -nE "s/^test [a-z_:]*::([cfp][0-9]+)_.*\\b$1\$/\\U\\1/p" | rows_in; }

# What breaks in the copy: rows, or why that can't be known.
broken() { # LOG
  local rows tests
  if ! cargo test --test it --no-run >"$1" 2>&1; then echo 'does not build'; return; fi
  mapfile -t tests < <(cargo test -q --test it -- --list 2>>"$1" | sed -nE 's/^(.*::[cfp][0-9]+_.*): test$/\1/p')
  if [ ${#tests[@]} -eq 0 ]; then echo 'no tests'; return; fi
  timeout 900 cargo test --test it -- --exact "${tests[@]}" >>"$1" 2>&1
  if ! grep -q '^test result:' "$1"; then echo 'the tests did not end'; return; fi
  rows=$(rows_of_tests FAILED <"$1")
  echo "${rows:-nothing}"
}

bad=0
# Runs the tests on the copy, and prints a line of the table.
check() { # ROW EXPECTED
  local found verdict=ok
  found=$(broken "$work/$1.log")
  if [ "$found" != "$2" ]; then
    verdict="NOT ok"
    bad=1
  fi
  printf '%-5s %-14s %-14s %s\n' "$1" "$2" "$found" "$verdict"
  [ "$verdict" = ok ] || tail -n 60 "$work/$1.log" >&2
}

all=$(find "$here" -name '*.diff' -printf '%f\n' | sed 's/\.diff$//' | sort -V)
printf '%-5s %-14s %-14s\n' row 'is to break' breaks

copy || exit 1
check none nothing
# each row that has tests has its mutation, and the other way round
tested=$(rows_of_tests ok <"$work/none.log")
if [ $bad -eq 0 ] && [ "$tested" != "$(echo "$all" | rows_in)" ]; then
  echo "there are tests for the rows $tested, and mutations for $(echo "$all" | rows_in)" >&2
  bad=1
fi

# shellcheck disable=SC2086 # a word for each row
for row in "${@:-$all}"; do
  for row in $row; do
    diff=$here/$row.diff
    copy || exit 1
    expected=$(grep '^# Breaks ' "$diff" | rows_in)
    if [ -n "$expected" ] && git apply "$diff"; then
      check "$row" "$expected"
    else
      printf '%-5s %-14s %-14s %s\n' "$row" "$expected" 'does not apply' 'NOT ok'
      bad=1
    fi
  done
done
exit $bad

#!/usr/bin/env bash
# One tracker and four peers on this machine, each in its own terminal: see usage().
# Written for bash 3.2 too (macOS): no associative arrays, no BASHPID, no `wait -n`.
#
# How it ends: each program, and each window that holds one, writes its PID into local_run/pids/ before
# anything else. Ending is: rename that folder, so that whoever comes late can't write there and gives up;
# then end the PIDs in it. All work is done in a child, which ignores Ctrl-C, while this shell only waits:
# a trap that strikes bash 5.2 just as it parses a $( ) can leave it spinning for ever.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
here=$PWD me=$PWD/run_local.sh bin=${CARGO_TARGET_DIR:-target}/debug
run=local_run marker=local_run/.made-by-run_local.sh
peers="1 2 3 4"
session=bittorrentish

usage() {
  cat <<'END'
Runs one tracker and four peers on this machine, in local_run/, to watch them share files.

  ./run_local.sh [windows|tmux|headless|help] [client flags]

  windows    five terminal windows ($TERMINAL is tried first); Ctrl-C in this one ends all
  tmux       five panes of one tmux session; tmux kill-session ends all
  headless   all in this terminal, a name before each line; ends by itself: 0 if all copies are right, else 1
  (none)     windows where there is a display, else tmux if installed, else headless

Peer 1 starts with a large file (64 MiB) and small ones, peer 2 with other small ones, 3 and 4 with nothing.
Flags go to all four clients, e.g.  ./run_local.sh tmux --classic --explain --verbose
--verbose goes to the tracker, too.
With --classic the large file has 1 MiB (16 pieces), and the lesson takes about nine minutes.

Environment: PORT (the tracker's first choice, 29283), DEADLINE (seconds; headless: 300, with --classic 900).
END
}

die() { printf 'run_local.sh: %s\n' "$1" >&2; exit "${2:-1}"; }

# ---- programs, windows, and how they end ----

# For `sh -c "$noted" local_run/pids/ID COMMAND...`: its $$ stays the PID through exec.
# shellcheck disable=SC2016 # that shell expands it
noted='echo $$ >"$0" && exec "$@"'

set_command() { # ID: into the array `command`
  case $1 in
    tracker) command=("$bin/server" --port "$port" --torrents "$run/torrents" ${verbose:+"$verbose"});;
    *) command=("$bin/client" 127.0.0.1 "$port" "$run/$1" ${flags[@]+"${flags[@]}"});;
  esac
}

how_ended() { if [ "$1" -gt 128 ]; then echo "by signal $(($1 - 128))"; else echo "exit code $1"; fi; }

# What a window or pane runs: the program; then it stays open so that the messages can be read.
in_window() { # ID COMMAND...
  local id=$1 status; shift
  trap : INT                                  # Ctrl-C here ends the program, not this wrapper
  echo $$ >"$run/pids/$id.window" || exit 1
  trap 'rm -f "$run/pids/$id.window"' EXIT
  printf '$'; printf ' %s' "$@"; printf '\n'
  sh -c "$noted" "$run/pids/$id" "$@"; status=$?
  rm -f "$run/pids/$id"
  while read -r -t 1 _; do :; done            # an Enter typed while it ran must not close the window
  printf -- '--- %s has ended (%s). Enter closes this window. ---' "$id" "$(how_ended $status)"
  read -r _
}

# A PID may have been given to another process since it was noted.
ours() { # PID
  local args
  kill -0 "$1" 2>/dev/null || return 1
  args=$(ps -o args= -p "$1" 2>/dev/null) || return 0    # no usable ps: believe the note
  case $args in *"$run"*|*run_local.sh*) return 0;; *) return 1;; esac
}

living() { # FOLDER: the PIDs noted there that still live
  local file pid
  for file in "$1"/*; do
    pid=$(cat "$file" 2>/dev/null) && [ -n "$pid" ] && ours "$pid" && echo "$pid"
  done
}

stop_all() {
  local pids signal
  [ "$mode" != tmux ] || tmux kill-session -t "=$session" 2>/dev/null
  mv $run/pids $run/ending 2>/dev/null || return 0
  for signal in TERM 0 0 0 0 0 0 0 0 0 0 0 0 0 0 KILL; do
    pids=$(living $run/ending)
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086 # one word per PID
    kill -s $signal $pids 2>/dev/null
    sleep 0.2
  done
  rm -rf ./$run/ending
}

# shellcheck disable=SC2317 # called by the trap
at_exit() {
  trap '' INT TERM HUP PIPE
  exec 2>/dev/null
  [ -z "$worker" ] || { kill "$worker"; wait "$worker"; }
  [ -n "$leave_running" ] || stop_all
}

# ---- the files ----

md5_of() { if command -v md5sum >/dev/null; then md5sum <"$1"; else md5 -r "$1"; fi | cut -c1-32; }
size_of() { wc -c <"$1" | tr -d ' '; }

check_folder() {
  local pids
  if [ -e $run ] || [ -L $run ]; then
    if [ ! -f $marker ] || [ -L $run ]; then
      die "$here/$run was not made by this script, so it stays as it is. Move it away and try again."
    fi
    pids=$(living $run/pids | tr '\n' ' ')
    [ -z "$pids" ] || die "an earlier run still goes on. End it first (Ctrl-C or tmux kill-session there, or: kill $pids)"
  fi
}

make_folder() {
  local k n=0 last name
  rm -rf ./$run/*                             # all but the marker, which must survive an interruption here
  { mkdir -p $run && : >$marker && mkdir $run/pids $run/logs $run/torrents $run/peer{1,2,3,4}; } || die "cannot write to $here/$run"
  head -c $((mib * 1024 * 1024)) /dev/urandom >$run/peer1/image.iso || die "no room for image.iso ($mib MiB)"
  for k in 1 2; do
    last=$((k * small))
    while [ $n -lt $last ]; do
      n=$((n + 1))
      echo "This is $n.txt. It was first at peer $k, at $(date)." >"$run/peer$k/$n.txt"
    done
  done
  for name in "$run"/peer[12]/*; do            # what all copies must be
    echo "$(md5_of "$name") $(size_of "$name") ${name##*/}"
  done >$run/expected
}

# Every file in every peer's own folder, in full size. Final names only appear once verified.
complete() {
  local k size name
  while read -r _ size name; do
    for k in $peers; do
      [ -f "$run/peer$k/$name" ] && [ "$(size_of "$run/peer$k/$name")" = "$size" ] || return 1
    done
  done <$run/expected
}

compare() { # prints the table; true if all copies are the same
  local md5 size name k copy notes='' bad=0
  printf '\n%-10s %-32s  %-9s %-9s %-9s %s\n' file MD5 'peer 1' 'peer 2' 'peer 3' 'peer 4'
  while read -r md5 size name; do
    printf '%-10s %s ' "$name" "$md5"
    for k in $peers; do
      copy=missing
      if [ -f "$run/peer$k/$name" ]; then
        copy=$(md5_of "$run/peer$k/$name")
        if [ "$copy" = "$md5" ]; then copy=ok; else
          notes="$notes$name at peer $k: MD5 $copy, $(size_of "$run/peer$k/$name") of $size bytes"$'\n' copy=different
        fi
      fi
      [ $copy = ok ] || bad=$((bad + 1))
      printf ' %-9s' $copy
    done
    printf '\n'
  done <$run/expected
  if [ $bad -eq 0 ]; then echo 'All copies are the same.'; return 0; fi
  printf '%sCopies missing or different: %s.\n' "$notes" $bad
  return 1
}

# ---- the tracker's port ----

# The server itself says whether it can have the port. (To connect and see who answers would be shorter,
# but a connection without a message stops the original's tracker for good.)
can_listen() {
  local pid try
  sh -c "$noted" $run/pids/trial "$bin/server" --port "$port" --torrents $run/torrents >$run/logs/trial.log 2>&1 &
  pid=$!
  for try in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.1
    kill -0 $pid 2>/dev/null || return 1
    ! grep -qi listening $run/logs/trial.log || break
  done
  { kill $pid; wait $pid; } 2>/dev/null
  rm -f $run/pids/trial
}

choose_port() {
  local first=${PORT:-29283}
  case $first in *[!0-9]*) die "PORT is '$first', not a number" 2;; esac
  port=$first
  until can_listen; do
    port=$((port + 1))
    [ $port -lt $((first + 20)) ] || { cat $run/logs/trial.log >&2; die "the tracker starts on no port from $first to $((port - 1))"; }
  done
  [ "$port" = "$first" ] || echo "The tracker can't have port $first, so it takes $port."
}

# ---- headless ----

prefixed() { # ID: each line at once, with the name; and into a log for its last words
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%-7s | %s\n' "${1/peer/peer }" "$line"
    printf '%s\n' "$line" >>"$run/logs/$1.log"
  done
}

headless() {
  local id n status took running problem='' pids=() readers=() ids=(tracker peer1 peer2 peer3 peer4)
  for id in "${ids[@]}"; do
    set_command "$id"
    # A FIFO, not a pipeline: $! is the program itself, and its exit code can be had.
    mkfifo "$run/logs/$id.fifo" || die "cannot make a FIFO in $here/$run"
    prefixed "$id" <"$run/logs/$id.fifo" & readers+=($!)
    echo "\$ ${command[*]}"
    sh -c "$noted" "$run/pids/$id" "${command[@]}" >"$run/logs/$id.fifo" 2>&1 </dev/null & pids+=($!)
    [ "$id" != tracker ] || sleep 0.5         # so that nobody's first ping comes too early
  done
  until complete; do
    running=0
    for n in 0 1 2 3 4; do
      [ -n "${pids[n]}" ] || continue
      if kill -0 "${pids[n]}" 2>/dev/null; then running=$((running + (n > 0))); continue; fi
      { wait "${pids[n]}"; status=$?; wait "${readers[n]}"; } 2>/dev/null
      pids[n]=''; rm -f "$run/pids/${ids[n]}"
      # A client may leave in good order (--exit-when-complete). What is then missing, the table shows.
      [ "$n" -eq 0 ] || [ $status -ne 0 ] || continue
      problem="${ids[n]/peer/peer } ended early ($(how_ended $status)). Its last lines:
$(tail -n 10 "$run/logs/${ids[n]}.log" 2>/dev/null | sed 's/^/    /')"
      break 2
    done
    [ $running -gt 0 ] || break
    [ $SECONDS -lt "$deadline" ] || { problem="Not complete after $deadline s."; break; }
    sleep 0.3
  done 2>/dev/null                            # no "Killed" from bash in between: we say it ourselves
  took=$SECONDS
  { stop_all; wait; } 2>/dev/null             # the readers end with their programs: the table comes last
  if compare && [ -z "$problem" ]; then echo "Done in $took s."; return 0; fi
  [ -z "$problem" ] || echo "$problem"
  return 1
}

# ---- tmux ----

add_pane() { # ID, then the tmux command that opens it; its pane's id goes to `panes`
  local id=$1 pane; shift
  set_command "$id"
  pane=$(tmux "$@" -P -F '#{pane_id}' bash "$me" _window "$id" "${command[@]}") || die "tmux has no room for $id: a larger terminal?"
  panes+=("$pane")
  tmux select-pane -t "$pane" -T "${id/peer/peer }"
}

in_tmux() {
  local panes=() size cols=160 rows=48 row prefix attach
  if [ -n "${TMUX:-}" ]; then size=$(tmux display-message -p '#{client_height} #{client_width}')
  else size=$(stty size 2>/dev/null); fi
  case $size in [1-9]*' '[1-9]*) rows=${size% *} cols=${size#* };; esac
  row=$(((rows - 1) * 2 / 5))                 # two rows of peers, with their title lines; the tracker a fifth
  add_pane tracker new-session -d -s "$session" -n local -x "$cols" -y "$rows"
  tmux set-option -w -t "${panes[0]}" pane-border-status top
  tmux set-option -w -t "${panes[0]}" pane-border-format '#[bold] #T '
  tmux set-option -w -t "${panes[0]}" remain-on-exit off
  prefix=$(tmux show-options -gv prefix)
  tmux set-option -t "$session" status on
  tmux set-option -t "$session" status-left ''
  tmux set-option -t "$session" status-right-length 60
  tmux set-option -t "$session" status-right "$prefix d: leave | $prefix :kill-session Enter: end all"
  sleep 0.5                                   # the tracker first
  add_pane peer1 split-window -d -v -l $((2 * row - 1)) -t "${panes[0]}"
  add_pane peer3 split-window -d -v -l $((row - 1)) -t "${panes[1]}"
  add_pane peer2 split-window -d -h -t "${panes[1]}"
  add_pane peer4 split-window -d -h -t "${panes[2]}"
  attach="tmux attach -t $session"
  if [ ! -t 0 ] || [ ! -t 1 ]; then
    :
  elif [ -n "${TMUX:-}" ]; then
    tmux set-option -t "$session" detach-on-destroy off    # at its end, back to the session before
    tmux switch-client -t "$session"
    attach="tmux switch-client -t $session"
  else
    tmux attach-session -t "$session"
    tmux has-session -t "=$session" 2>/dev/null || { stop_all; compare; return; }
  fi
  echo "It runs in the tmux session '$session'."
  echo "See it:   $attach"
  echo "End it:   tmux kill-session -t $session"
}

# ---- windows ----

have_display() {
  [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || { [ "$(uname)" = Darwin ] && [ -z "${SSH_CONNECTION:-}" ]; }
}

find_emulator() {
  local known="gnome-terminal konsole xfce4-terminal kitty alacritty xterm"
  [ "$(uname)" != Darwin ] || known=osascript
  for emulator in ${TERMINAL:+"$TERMINAL"} $known; do command -v "$emulator" >/dev/null && return 0; done
  return 1
}

open_window() { # TITLE ROWS X Y COMMAND...; becomes the emulator, so call it with &
  local name=$1 rows=$2 x=$3 y=$4; shift 4
  exec >>$run/logs/windows.log 2>&1
  case ${emulator##*/} in
    gnome-terminal) exec "$emulator" --title="$name" --geometry="90x$rows" -- "$@";;
    konsole) exec "$emulator" -p tabtitle="$name" -e "$@";;
    xfce4-terminal) exec "$emulator" --title="$name" --geometry="90x$rows" -x "$@";;
    kitty) exec "$emulator" --title "$name" -o remember_window_size=no -o initial_window_width=90c -o initial_window_height="${rows}c" "$@";;
    alacritty) exec "$emulator" --title "$name" -o window.dimensions.columns=90 -o window.dimensions.lines="$rows" -e "$@";;
    xterm) exec "$emulator" +hold -T "$name" -geometry "100x$rows+$x+$y" -e "$@";;
    osascript) exec osascript -e 'on run argv' -e 'tell application "Terminal" to do script (item 1 of argv)' -e 'end run' "exec$(printf ' %q' "$@")";;
    *) exec "$emulator" -e "$@";;
  esac
}

windows() {
  local id x=0 y=0 rows=10 try result=''
  { have_display && find_emulator; } || die "no display, or no terminal that I know (set TERMINAL to yours, or: ./run_local.sh headless)"
  echo "Five windows of ${emulator##*/}. Ctrl-C here ends everything."
  for id in tracker peer1 peer2 peer3 peer4; do
    case $id in                               # where xterms with its usual font fill 1280x720
      peer1) x=0 y=190 rows=16;; peer2) x=660;; peer3) x=0 y=460;; peer4) x=660;;
    esac
    set_command $id
    open_window "${id/peer/peer }" $rows $x $y bash "$me" _window $id "${command[@]}" &
    echo $! >$run/pids/$id.emulator
    for try in {1..50}; do [ ! -f $run/pids/$id.window ] || break; sleep 0.2; done
    [ "$try" -lt 50 ] || { tail -n 5 $run/logs/windows.log >&2; die "${emulator##*/} opened no window in 10 s (set TERMINAL to another, or: ./run_local.sh headless)"; }
    rm -f $run/pids/$id.emulator              # from now on it closes with its program, or has others' windows too
    [ $id != tracker ] || sleep 0.5           # the tracker first
  done
  while ls $run/pids/*.window >/dev/null 2>&1; do
    if [ -z "$result" ] && complete; then
      compare; result=$?
      echo 'The peers go on. Ctrl-C here ends everything.'
    fi
    sleep 0.5
  done
  [ -n "$result" ] || { compare; result=$?; }
  return $result
}

# ---- main ----

[ "${1:-}" != _window ] || { shift; in_window "$@"; exit; }
case ${1:-} in
  -h|--help|help) usage; exit 0;;
  windows|tmux|headless) mode=$1; shift;;
  ''|-*) if have_display && find_emulator; then mode=windows; elif command -v tmux >/dev/null; then mode=tmux; else mode=headless; fi;;
  *) die "unknown mode '$1' (windows, tmux, headless or help)" 2;;
esac
flags=("$@") verbose='' mib=64 small=3 deadline=${DEADLINE:-300}
for flag in "$@"; do
  case $flag in
    --verbose) verbose=$flag;;
    --classic) mib=1 small=1 deadline=${DEADLINE:-900};;    # one piece a round: few small files, or they would take the time
  esac
done
[ "$mode" != tmux ] || command -v tmux >/dev/null || die "tmux is not installed (use: windows, headless)"
PATH=$PATH:${HOME:-}/.cargo/bin               # rustup's; a shell that was open before doesn't know it
command -v cargo >/dev/null || die "cargo is missing. Get it with rustup: https://rustup.rs"
check_folder
cargo build || die "the build failed"
! { [ "$mode" = tmux ] && tmux has-session -t "=$session"; } 2>/dev/null || session=bittorrentish-$$

work() {
  make_folder
  choose_port
  SECONDS=0
  case $mode in headless) headless;; tmux) in_tmux;; windows) windows;; esac
}
worker='' leave_running=''
trap at_exit EXIT
trap 'exit 130' INT; trap 'exit 143' TERM; trap 'exit 129' HUP; trap 'exit 141' PIPE
work <&0 &
worker=$!
wait $worker; status=$?
worker=''
# Left by detaching, or never attached: the session goes on.
! { [ "$mode" = tmux ] && [ $status -eq 0 ] && tmux has-session -t "=$session"; } 2>/dev/null || leave_running=1
exit $status

# What the scripts of rel/ share: where the three nodes are and how to tell whether one runs. To be sourced.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rel=$root/_rel
nodes=(1 2 3)

say() { printf '%s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The wrapper of node $1: its configuration, its RKV_NODE.
rkv() {
  local node=$1
  shift
  "$rel/node$node/bin/rkv" "$@"
}

http_port() { printf '8%s98' "$1"; }

need_build() {
  [[ -x $rel/node1/bin/rkv ]] || fail "there is no release in _rel: run rel/build first"
}

# Node number $1 of the command line, or an error that says what is allowed.
need_node() {
  case ${1-} in
    1 | 2 | 3) ;;
    *) fail "usage: rel/$(basename "$0") N, with N = 1, 2 or 3" ;;
  esac
}

# Prints the process id of node $1 if that runs; a pid file may name a process of somebody else by now.
pid_of() {
  local file=$rel/node$1/node.pid pid
  [[ -f $file ]] || return 1
  pid=$(<"$file")
  [[ $pid =~ ^[0-9]+$ ]] && kill -0 "$pid" 2>/dev/null || return 1
  [[ $(ps -o args= -p "$pid" 2>/dev/null) == *"_rel/node$1/bin/"* ]] || return 1
  printf '%s\n' "$pid"
}

# Whether node $1 says that it is ready: /health/ready answers 200. Without curl, which a fresh machine may lack.
is_ready() {
  local status=
  {
    printf 'GET /health/ready HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
    IFS= read -r -t 2 status <&3
  } 3<>"/dev/tcp/127.0.0.1/$(http_port "$1")" || true
  [[ $status == *' 200 '* ]]
} 2>/dev/null

# Waits until process $2 of node $1 is gone, at most $3 tenths of a second.
wait_gone() {
  local i
  for ((i = 0; i < $3; i++)); do
    kill -0 "$2" 2>/dev/null || return 0
    sleep 0.1
  done
  return 1
}

start_node() {
  local node=$1 folder=$rel/node$1 pid i
  if pid=$(pid_of "$node"); then
    say "node$node runs already (pid $pid)"
    return
  fi
  mkdir -p "$folder/log"
  # a session of its own: what ends this shell does not end the node
  RUST_BACKTRACE=1 setsid "$folder/bin/rkv" start >>"$folder/log/node.log" 2>&1 </dev/null &
  pid=$!
  printf '%s\n' "$pid" >"$folder/node.pid"
  for ((i = 0; i < 200; i++)); do
    if ! kill -0 "$pid" 2>/dev/null; then
      tail -n 10 "$folder/log/node.log" >&2
      fail "node$node ended at its start; its log: $folder/log/node.log"
    fi
    if is_ready "$node"; then
      say "node$node is ready (pid $pid): redis 127.0.0.1:6$((node + 2))79, http 127.0.0.1:$(http_port "$node")"
      return
    fi
    sleep 0.1
  done
  fail "node$node was not ready within 20 s; its log: $folder/log/node.log"
}

stop_node() {
  local node=$1 pid
  if ! pid=$(pid_of "$node"); then
    say "node$node does not run"
    return
  fi
  kill -TERM "$pid" 2>/dev/null || true
  if wait_gone "$node" "$pid" 200; then
    say "node$node stopped"
  else
    kill -KILL "$pid" 2>/dev/null || true
    wait_gone "$node" "$pid" 50 || fail "node$node (pid $pid) cannot be ended"
    say "node$node did not stop within 20 s of SIGTERM and was killed"
  fi
  rm -f "$rel/node$node/node.pid"
}

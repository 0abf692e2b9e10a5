# shellcheck shell=bash
# What scripts/demo.sh is made of: its temporary place, the services it starts and ends, and the questions it asks them.
# Sourced, not run. Every service is started here, and ended by its process id here.

lease_s=3
work="" shm="" logs="" stage="" bin="" uid=""
as_user=()         # how to run as the throwaway user
declare -A pids=() # name of a service → its process
rows=()

say() { printf '    %s\n' "$*"; }
step() { printf '\n%s\n' "$*"; }
seen() {
  rows+=("$1"$'\t'"$2")
  say "$1: $2"
}
fail() {
  printf '\ndemo.sh: FAILED: %s\n' "$*" >&2
  for log in "$logs"/*.log; do
    if [[ -s $log ]]; then printf -- '---- end of %s\n' "${log##*/}" >&2 && tail -n 25 "$log" >&2; fi
  done
  exit 1
}
log_of() { # runs a command quietly; shows what it said if it failed
  local name=$1 out
  shift
  out=$(mktemp)
  "$@" >"$out" 2>&1 || { cat "$out" >&2; rm -f "$out"; echo "demo.sh: FAILED: $name" >&2; exit 1; }
  rm -f "$out"
}
print_table() {
  printf '\n%-24s %s\n' "what" "seen"
  printf '%-24s %s\n' "----" "----"
  local row
  for row in "${rows[@]}"; do printf '%-24s %s\n' "${row%%$'\t'*}" "${row#*$'\t'}"; done
  printf '\nAll as told, in %d s.\n' "$SECONDS"
}

# ---- place, user, ports ------------------------------------------------------------------------------------------------
prepare_place() {
  umask 077
  work=$(mktemp -d "${TMPDIR:-/tmp}/trustbridge-demo.XXXXXX")
  shm=$(mktemp -d /dev/shm/trustbridge-demo.XXXXXX)
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  logs=$work/logs
  mkdir -p "$logs" "$work"/{provider,cp,main,denied,flipped} "$shm"/{plain,provider,main,denied,flipped}
  touch "$work/started"
  stage=$work/stage bin=$built
  if (($(id -u) == 0)); then
    uid=$((61184 + RANDOM % 4000)) # nobody's: between what Debian gives to users and what it gives to itself
    as_user=(setpriv --reuid="$uid" --regid="$uid" --clear-groups --inh-caps=-all --no-new-privs)
    give "$work" "$shm"
    say "started as root: everything from here on runs as user $uid, which nobody is"
  fi
  mkdir -p "$stage"
  cp "$repo/runtime/make_tiny_gguf.py" "$stage/"
  engine=$repo/build/engine
  # A checkout under a private home is closed to the throwaway user: then what runs is copied to where he may read it.
  if ! "${as_user[@]}" test -r "$engine/server.mjs" -a -x "$built/trustbridge-sentinel"; then
    cp -r "$engine" "$stage/engine"
    cp "$built"/trustbridge* "$stage/"
    engine=$stage/engine bin=$stage
  fi
  chmod -R go+rX "$stage"
  give "$stage"
  # A user without rights has namespaces where the kernel lets him; elsewhere the demo shows the chain without them.
  isolation=full
  if ! "${as_user[@]}" env -i TB_RUNTIME_COMMAND='["x"]' TB_ALLOW_SHARED_UID=true "$bin/trustbridge-sentinel" \
    --isolation-report --json | jq -e .healthy >/dev/null; then
    isolation=partial
    say "this kernel does not let a user without rights confine the engine wholly: TB_RUNTIME_ISOLATION=partial"
  fi
  read -r cp_port public_port health_port runtime_port reference_port port_a port_b port_c port_d port_e port_f < <(free_ports 11)
  public_url=http://127.0.0.1:$public_port
  reference_url=http://127.0.0.1:$reference_port
  cp_url=http://127.0.0.1:$cp_port
  cp_flags=(--edc-endpoint "$cp_url" --token-file "$shm/provider/token")
}
free_ports() {
  python3 -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))' "$1"
}
give() { # what this script wrote, to the throwaway user
  if [[ -n $uid ]]; then chown -R "$uid:$uid" "$@"; fi
}
run() { # one of our programs, as the throwaway user, with nothing of the environment
  "${as_user[@]}" env -i PATH=/usr/bin:/bin HOME="$work" "$@" 2>>"$logs/commands.log" || {
    local status=$? program=${1##*/}
    fail "$program ${2:-} ended with status $status"
  }
}
start() { # NAME VARIABLE=VALUE… PROGRAM ARGUMENT…
  local name=$1
  shift
  (exec "${as_user[@]}" env -i PATH=/usr/bin:/bin HOME="$work" "$@") >"$logs/$name.log" 2>&1 </dev/null &
  pids[$name]=$!
}
stop_service() {
  local pid=${pids[$1]:-}
  [[ -n $pid ]] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  local waited=0
  while kill -0 "$pid" 2>/dev/null && ((waited++ < 100)); do sleep 0.1; done
  if kill -KILL "$pid" 2>/dev/null; then say "$1 had to be killed"; fi
  wait "$pid" 2>/dev/null || true
  unset "pids[$1]"
}
clean_up() {
  local status=$? name
  trap - EXIT
  set +e
  for name in "${!pids[@]}"; do stop_service "$name"; done
  # A sentinel that had to be killed leaves its mount.
  for name in "$shm"/*/model; do
    if mountpoint -q "$name"; then fusermount3 -uzq "$name"; fi
  done
  rm -rf "$work" "$shm"
  exit "$status"
}

# ---- waiting and asking ------------------------------------------------------------------------------------------------
wait_for() { # SECONDS WHAT COMMAND…
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < limit)) || fail "waited in vain: $what"
    sleep 0.1
  done
}
http_ok() { curl -sf -m 5 -o /dev/null "$1"; }
port_closed() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
process_gone() { ! kill -0 "$1" 2>/dev/null; }
directory_empty() { [[ -z $(find "$1" -mindepth 1 -type f 2>/dev/null) ]]; }
pid_of_engine() { # PORT
  local pid
  pid=$(pgrep -f -- "^[^ ]*node [^ ]*server.mjs --model .* --port $1" | head -n 1)
  [[ -n $pid ]] || fail "no engine was started for port $1"
  echo "$pid"
}
question='{"model":"demo-model","messages":[{"role":"user","content":"tell me a story"}],"max_tokens":32,"temperature":0}'
curl_chat() { # URL API_KEY BODY CURL_FLAG…
  local url=$1 key=$2 body=$3
  shift 3
  # The key goes in by a file descriptor: an argument could be read by every user of the machine.
  curl -sS -m 60 "$@" -H 'content-type: application/json' -H @<(if [[ -n $key ]]; then echo "authorization: Bearer $key"; fi) \
    -d "$body" "$url/v1/chat/completions"
}
ask_plain() {
  local answer text
  answer=$(curl_chat "$1" "$2" "$question" --fail-with-body) || fail "no answer: $answer"
  text=$(jq -er '.choices[0].message.content' <<<"$answer") || fail "no text in the answer: $answer"
  ((${#text} >= 16)) || fail "the engine said next to nothing: “$text”"
  echo "$text"
}
ask_stream() {
  curl_chat "$1" "$2" "${question%\}},\"stream\":true}" -N --fail-with-body >"$3" || fail "no stream: $(<"$3")"
  grep -qx 'data: \[DONE\]' <(tr -d '\r' <"$3") || fail "the stream did not end as it should"
}
stream_text() { sed -n 's/^data: {/{/p' "$1" | jq -rj '.choices[0].delta.content // empty'; }
expect_status() { # STATUS WHAT METHOD URL API_KEY
  local got
  got=$(curl -s -m 10 -o /dev/null -w '%{http_code}' -X "$3" -H 'content-type: application/json' \
    -H @<(if [[ -n $5 ]]; then echo "authorization: Bearer $5"; fi) -d "$question" "$4") || true
  [[ $got == "$1" ]] || fail "$2 was answered with $got, not $1"
}

# ---- services ----------------------------------------------------------------------------------------------------------
start_control_plane() {
  local settings=(TB_CP_ADDR=127.0.0.1:"$cp_port" TB_CP_PUBLIC_URL="$cp_url" TB_CP_DATA_DIR="$work/cp/data"
    TB_CP_STORE=filesystem:"$work/cp/blobs")
  run "${settings[@]}" "$bin/trustbridge-control-plane" token create --role provider --tenant demo >"$shm/provider/token"
  give "$shm/provider/token"
  start control-plane "${settings[@]}" "$bin/trustbridge-control-plane"
  wait_for 20 "the control plane answers" http_ok "$cp_url/readyz"
  # The provider pins the control plane's identity: the asset key is then sealed to it on its way.
  run "${settings[@]}" "$bin/trustbridge-control-plane" identity >"$work/provider/control-plane.pub"
  give "$work/provider/control-plane.pub"
}
make_contract() {
  run "$bin/trustbridge" contract create --contract-id "$1" --asset-id demo-model --consumer demo-consumer \
    --not-after 1h --max-seats 1 --lease-seconds "$lease_s" \
    --activation-token-file "$shm/provider/$1.token" "${cp_flags[@]}" >/dev/null
}
start_engine() {
  start reference "$engine/node" "$engine/server.mjs" --model "$1" --port "$reference_port"
  wait_for 60 "the engine loads the plaintext" http_ok "$reference_url/health"
}
start_sentinel() { # NAME CONTRACT
  local name=$1 public=$public_port health=$health_port runtime=$runtime_port
  case $name in
    denied) public=$port_a health=$port_b runtime=$port_c ;;
    flipped) public=$port_d health=$port_e runtime=$port_f ;;
  esac
  declare -g "health_$name=$health" "public_$name=$public"
  head -c 16 /dev/urandom | sha256sum | cut -c1-32 >"$work/$name/hw-id"
  give "$work/$name/hw-id"
  start "$name" TB_CONTRACT_ID="$2" TB_ASSET_ID=demo-model TB_EDC_ENDPOINT="$cp_url" \
    TB_ACTIVATION_TOKEN_FILE="$shm/provider/$2.token" TB_HW_ID_FILE="$work/$name/hw-id" \
    TB_PUBLIC_ADDR=127.0.0.1:"$public" TB_HEALTH_ADDR=127.0.0.1:"$health" TB_RUNTIME_URL=http://127.0.0.1:"$runtime" \
    TB_RUNTIME_COMMAND="[\"$engine/node\",\"$engine/server.mjs\",\"--model\",\"{model_path}\",\"--port\",\"{runtime_port}\"]" \
    TB_RUNTIME_READ_PATHS="$engine" TB_RUNTIME_ISOLATION="$isolation" \
    TB_ALLOW_SHARED_UID=true TB_ALLOW_SWAP=true TB_DELIVERY=auto TB_MODEL_DIR="$shm/$name/model" \
    TB_READY_SIGNAL="$shm/$name/ready.signal" TB_PIPE_PATH="$shm/$name/pipe" TB_TARGET_DIR="$work/$name/cache" \
    TB_STATE_DIR="$work/$name/state" TB_DRAIN_SECONDS=2 "$bin/trustbridge-sentinel"
}
status_of() {
  local port=health_$1
  curl -s -m 5 "http://127.0.0.1:${!port}/status" | jq -er "$2"
}
in_state() { [[ $(status_of "$1" .state) == "$2" ]]; }
is_ready() {
  local port=health_$1
  http_ok "http://127.0.0.1:${!port}/readyz"
}
or_dead() { # NAME COMMAND…: so that a service that ended is not waited for
  process_gone "${pids[$1]}" || "${@:2}"
}
wait_service() { # NAME WHAT COMMAND…
  wait_for 60 "sentinel $1 $2" or_dead "$1" "${@:3}"
  ! process_gone "${pids[$1]}" || fail "sentinel $1 has ended"
}
wait_state() { wait_service "$1" "comes to $2" in_state "$1" "$2"; }
wait_ready() {
  wait_service "$1" "is ready" is_ready "$1"
  api_key=$(tr -d '\n' <"$work/$1/state/first-api-key")
}
expect_nothing_served() {
  local port=public_$1
  port_closed "${!port}" || fail "the public port of sentinel $1 is open"
  directory_empty "$shm/$1/model" || fail "sentinel $1 delivered something"
  [[ ! -e $shm/$1/ready.signal ]] || fail "sentinel $1 signalled ready"
}
check_audit() {
  local log=$work/main/state/audit/audit.jsonl records
  [[ -f $log ]] || fail "there is no audit log"
  for _ in {1..100}; do # a record is written some milliseconds after its request has ended
    records=$(wc -l <"$log")
    ((records < 4)) || break
    sleep 0.1
  done
  jq -c '{seq, method, path, status, outcome, subject, req_bytes, resp_bytes, latency_ms}' "$log" | sed 's/^/    /'
  # The chain by other means than ours: prev is the SHA-256 of a zero byte and the line before.
  python3 - "$log" <<'PY' || fail "the chain of the audit log is broken"
import hashlib, json, sys
prev = bytes(32)
for line in open(sys.argv[1], "rb"):
    if json.loads(line)["prev"] != prev.hex():
        sys.exit(1)
    prev = hashlib.sha256(b"\0" + line.rstrip(b"\n")).digest()
PY
  ((records == 4)) || fail "four requests were made, $records are in the audit log"
  if grep -qF 'tell me a story' "$log"; then fail "the audit log holds a prompt"; fi
  seen "audit log" "$records records, chained, refused requests among them, no prompt in it"
}
flip_byte() { # of the file in the control plane's store; a second time mends it
  local file
  file=$(find "$work/cp/blobs" -type f -size +1M | head -n 1)
  [[ -n $file ]] || fail "no file in the store"
  python3 - "$file" <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(5_000_000)
    byte = file.read(1)[0]
    file.seek(5_000_000)
    file.write(bytes([byte ^ 1]))
PY
}
leave_running() {
  cat >"$work/stop.sh" <<STOP
#!/bin/sh
kill ${pids[*]} 2>/dev/null
sleep 4
rm -rf "$work" "$shm"
STOP
  chmod 0755 "$work/stop.sh"
  trap - EXIT
  seen "left running" "sentinel $public_url, its status http://127.0.0.1:$health_port/status, control plane $cp_url"
  say "API key: in $work/main/state/first-api-key; provider's token: $shm/provider/token; logs: $logs"
  say "end it with: sh $work/stop.sh"
  say "try: curl -N $public_url/v1/chat/completions -H \"authorization: Bearer \$(cat $work/main/state/first-api-key)\" \\"
  say "       -H 'content-type: application/json' -d '{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"stream\":true}'"
}

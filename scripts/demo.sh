#!/usr/bin/env bash
# One model, the whole chain: encrypted, licensed, downloaded, decrypted into memory, loaded by a real inference engine,
# answering through the sentinel; then refused when denied, tampered with or suspended. Fails at the first step that does
# not go as told. Leaves nothing running and nothing behind but build/.
#
#   scripts/demo.sh             says what it will install, and asks
#   scripts/demo.sh --yes       does not ask (nor with CI=true)
#   scripts/demo.sh --keep      leaves the chain running at the end and prints its URLs
#   scripts/demo.sh --built DIR uses the programs in DIR, and installs and builds nothing
set -euo pipefail
cd "$(dirname "$0")/.."
repo=$PWD

yes=false keep=false built=
[[ ${CI:-} == true ]] && yes=true
while (($#)); do
  case $1 in
    --yes) yes=true; shift ;;
    --keep) keep=true; shift ;;
    --built) built=$(realpath "${2:?--built needs a directory}"); yes=true; shift 2 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "demo.sh: error: unknown flag $1" >&2; exit 2 ;;
  esac
done

source scripts/demo-steps.sh
trap 'echo "demo.sh: FAILED at line $LINENO" >&2' ERR

# ---- what will happen --------------------------------------------------------------------------------------------------
if [[ -z $built ]]; then
  packages=$(scripts/deps.sh --plan --what build,demo) || exit
  echo "This builds TrustBridge in build/ and shows it at work. It installs:"
  echo "  Debian: $packages"
  if [[ -e build/engine/.installed ]]; then echo "  npm: nothing: the engine is there"
  else echo "  npm: llama.cpp (node-llama-cpp) and Node.js 22 into build/engine: about 90 MB to fetch, 180 MB on disk"; fi
  echo "From nothing that takes 5 to 10 minutes on two cores; root is used for apt-get only."
  if ! $yes; then
    [[ -t 0 ]] || { echo "demo.sh: error: nobody to ask; say --yes" >&2; exit 2; }
    read -r -p "Go on? [y/N] " answer
    [[ $answer == [yY]* ]] || exit 130
  fi
  step "Install and build"
  scripts/deps.sh --what build,demo
  scripts/engine.sh
  if [[ -t 1 ]]; then scripts/build.sh; else log_of build scripts/build.sh; fi
  built=$repo/build/release/bin
  say "built in $SECONDS s: $("$built/trustbridge" --version)"
else
  scripts/engine.sh
fi

prepare_place  # temporary folders, throwaway user, ports; everything goes away at exit

# ---- the provider ------------------------------------------------------------------------------------------------------
step "The provider makes a model and encrypts it"
run python3 "$stage/make_tiny_gguf.py" "$shm/plain/model.gguf" --layers 4 --width 256 --feed 704 >"$logs/model.log"
say "a llama model with random weights, $(du -h --apparent-size "$shm/plain/model.gguf" | cut -f1)B, in memory only"
run "$bin/trustbridge" encrypt --in "$shm/plain/model.gguf" --asset-id demo-model --out "$work/provider/model.tbenc" \
  --manifest "$work/provider/model.manifest.json" --key-file "$shm/provider/model.key" --chunk-bytes 1048576 --quiet >/dev/null
run "$bin/trustbridge" verify --in "$work/provider/model.tbenc" --manifest "$work/provider/model.manifest.json" \
  --key-file "$shm/provider/model.key" --quiet >/dev/null
seen "encrypted and verified" "$(stat -c %s "$work/provider/model.tbenc") bytes, every tag and the manifest's mac"

step "The control plane starts, the provider registers and writes a contract"
start_control_plane
run "$bin/trustbridge" upload --store cp: --asset-id demo-model --encrypted-file "$work/provider/model.tbenc" \
  --manifest "$work/provider/model.manifest.json" "${cp_flags[@]}" --quiet >/dev/null
run "$bin/trustbridge" register --store cp: --asset-id demo-model --manifest "$work/provider/model.manifest.json" \
  --key-file "$shm/provider/model.key" --control-plane-key "$work/provider/control-plane.pub" "${cp_flags[@]}" >/dev/null
make_contract demo
make_contract demo-denied
make_contract demo-flip
run "$bin/trustbridge" contract suspend demo-denied "${cp_flags[@]}" >/dev/null
seen "registered and licensed" "contract demo: 1 seat, lease of $lease_s s; contract demo-denied: suspended"

# ---- what the text must be ---------------------------------------------------------------------------------------------
step "The engine alone, on the plaintext: what it says is what must come out at the end"
start_engine "$shm/plain/model.gguf"
reference=$(ask_plain "$reference_url" "")
stop_service reference
say "“$reference”"

# ---- the consumer ------------------------------------------------------------------------------------------------------
step "The consumer's sentinel gets a lease, downloads, decrypts into memory and starts the engine"
start_sentinel main demo
wait_ready main
seen "ready" "$(status_of main '"\(.hydrate.bytes) bytes downloaded; manifest proven by \(.delivery.manifest_proof); delivered by \(.delivery.kind)"')"

step "A chat completion through the sentinel"
text=$(ask_plain "$public_url" "$api_key")
[[ $text == "$reference" ]] || fail "the answer differs: “$text”"
seen "answer, plain" "equals the engine's on the plaintext"
ask_stream "$public_url" "$api_key" "$logs/stream.txt"
text=$(stream_text "$logs/stream.txt")
[[ $text == "$reference" ]] || fail "the streamed answer differs: “$text”"
events=$(grep -c '^data: {' "$logs/stream.txt")
((events > 10)) || fail "the stream came in $events events only"
seen "answer, streamed" "the same text in $events events"
expect_status 401 "no key" POST "$public_url/v1/chat/completions" ""
expect_status 403 "a path not allowed" GET "$public_url/metrics" "$api_key"
seen "refused at the door" "401 without an API key, 403 for a path not on the list"

step "The consumer's audit log"
check_audit

step "What holds the engine, and who reaches its port"
status_of main '.isolation | "\(.mode): " + ([to_entries[] | select(.value == true) | .key] | join(", "))' | fold -sw 100 | sed 's/^/    /'
probe=$(python3 "$repo/tests/e2e/probe_port.py" "$runtime_port") || fail "no other address to try from"
sed 's/^/    /' <<<"$probe"
engine_pid=$(pid_of_engine "$runtime_port")
if [[ $(status_of main .isolation.network_namespace) == true ]]; then
  # The engine answered through the sentinel a moment ago: so it listens, but in a network of its own.
  if grep -q open <<<"$probe"; then fail "the engine's port answers outside of its network"; fi
  network=$(readlink "/proc/$engine_pid/ns/net") || fail "the engine's network cannot be seen"
  [[ $network != $(readlink /proc/self/ns/net) ]] || fail "the engine is in this network"
  seen "engine's port" "closed on all $(wc -l <<<"$probe") addresses of this machine: the engine has a network of its own"
else
  grep -qx "127.0.0.1 open" <<<"$probe" || fail "the engine's port does not answer on 127.0.0.1 either: nothing was shown"
  if grep -v '^127\.0\.0\.1 ' <<<"$probe" | grep -q open; then fail "the engine's port answers on another address"; fi
  seen "engine's port" "answers on 127.0.0.1, closed on $(($(wc -l <<<"$probe") - 1)) other addresses"
fi

step "Plaintext and key: in memory, and in no file on any disk"
model_file=$(find "$shm/main/model" -type f -name '*.gguf')
python3 "$repo/tests/e2e/find_plaintext.py" "$shm/plain/model.gguf" --in "$model_file" >/dev/null &&
  fail "the search does not find the weights where they are: it shows nothing"
found=$(python3 "$repo/tests/e2e/find_plaintext.py" "$shm/plain/model.gguf" --since "$work/started" \
  --key "$shm/provider/model.key") || fail "$found"
seen "plaintext, key on disks" "none: $found"
if [[ $(wc -l </proc/swaps) -gt 1 ]]; then
  say "this machine swaps, so memory may reach its disk; outside of this demo the sentinel refuses that by default"
fi

# ---- refusals ----------------------------------------------------------------------------------------------------------
step "A contract that is suspended: no download, no open port"
start_sentinel denied demo-denied
wait_state denied Suspended
reason=$(status_of denied '.last_error.code')
[[ $reason == *contract_suspended* || $reason == *denied* ]] || fail "refused for another reason: $reason"
expect_nothing_served denied
directory_empty "$work/denied/cache" || fail "the denied sentinel downloaded something"
[[ $(status_of denied .hydrate.bytes) == 0 ]] || fail "the denied sentinel downloaded something"
seen "denied contract" "$reason, nothing downloaded, port closed"
stop_service denied

step "One flipped byte in the stored file"
flip_byte
start_sentinel flipped demo-flip
wait_state flipped Suspended
reason=$(status_of flipped '.last_error.code')
expect_nothing_served flipped
[[ $reason == *tamper* || $reason == *tag* || $reason == *mismatch* ]] || fail "refused for another reason: $reason"
seen "one flipped byte" "$reason, nothing served"
stop_service flipped
flip_byte

# ---- suspension and return ---------------------------------------------------------------------------------------------
step "The provider suspends the contract; the lease is $lease_s s"
engine_pid=$(pid_of_engine "$runtime_port")
run "$bin/trustbridge" contract suspend demo "${cp_flags[@]}" >/dev/null
suspended_at=$SECONDS
wait_state main Suspended
expect_status 403 "traffic under a suspended contract" POST "$public_url/v1/chat/completions" "$api_key"
wait_for 20 "the engine ends" process_gone "$engine_pid"
wait_for 20 "the plaintext is gone" directory_empty "$shm/main/model"
[[ ! -e $shm/main/ready.signal ]] || fail "the ready signal is still there"
seen "suspended" "after $((SECONDS - suspended_at)) s: 403, engine ended, plaintext gone"

step "The provider resumes it"
run "$bin/trustbridge" contract resume demo "${cp_flags[@]}" >/dev/null
wait_ready main
text=$(ask_plain "$public_url" "$api_key")
[[ $text == "$reference" ]] || fail "after resuming the answer differs: “$text”"
seen "resumed" "the same text again"

if $keep; then
  leave_running
else
  step "The end"
  engine_pid=$(pid_of_engine "$runtime_port")
  stop_service main
  process_gone "$engine_pid" || fail "the engine outlived its sentinel"
  directory_empty "$shm/main/model" || fail "the sentinel left plaintext behind"
  found=$(python3 "$repo/tests/e2e/find_plaintext.py" "$shm/plain/model.gguf" --in "$work") || fail "$found"
  seen "after the end" "engine ended, plaintext gone; files of this demo: $found"
fi
print_table

#!/bin/sh
# Starts a model server on what the sentinel delivered. Two ways:
#
#   entrypoint.sh [FLAG…] [-- ARGUMENT…]       beside a sentinel: waits for its ready signal, becomes the server, and ends
#                                              it when the signal goes (suspension, end of the contract)
#   entrypoint.sh --supervised --model PATH …  started by the sentinel (TB_RUNTIME_COMMAND): becomes the server at once
#   entrypoint.sh --sentinel                   becomes the sentinel, which starts this script as its runtime
#
# Flags, and the variables that stand in for them (the sentinel passes no TB_* on):
#   --kind auto|vllm|llama|triton|custom   TB_RUNTIME_KIND    custom: ARGUMENT… is the whole command, of which the words
#                                                             {model_path} {host} {port} {socket} are replaced
#   --name NAME                            TB_SERVED_MODEL_NAME (with --sentinel: else the asset's id)
#   --host 127.0.0.1 --port 8081           TB_RUNTIME_HOST, TB_RUNTIME_PORT    loopback only
#   --socket PATH                          TB_RUNTIME_SOCKET  a unix socket instead
#   --api-key-file FILE                    TB_RUNTIME_API_KEY_FILE
#   --lora NAME=PATH (again and again)     TB_LORA_MODULES    separated by spaces
#   --model PATH                           as the ready signal says
# TB_READY_SIGNAL, TB_STATUS_URL (http://127.0.0.1:8001), TB_STARTUP_TIMEOUT: seconds in which neither the state changes nor
# a byte arrives; TB_MAX_LORAS, TB_MAX_LORA_RANK, TB_RUNTIME_SHUTDOWN_SECONDS (30; empty: the server is not told).
# ARGUMENT… goes to the server behind our own. Exit status as the other programs: 2 usage, 3 refused, 4 malformed,
# 5 no such server here, 6 nothing came in time. No value is ever evaluated.
set -eu
umask 077

say() { printf 'entrypoint: %s\n' "$1" >&2; }
die() {
  printf 'entrypoint: error: %s\n' "$2" >&2
  exit "$1"
}

kind=${TB_RUNTIME_KIND:-auto}
name=${TB_SERVED_MODEL_NAME:-}
host=${TB_RUNTIME_HOST:-127.0.0.1}
port=${TB_RUNTIME_PORT:-8081}
socket=${TB_RUNTIME_SOCKET:-}
key_file=${TB_RUNTIME_API_KEY_FILE:-}
loras=${TB_LORA_MODULES:-}
signal=${TB_READY_SIGNAL:-/dev/shm/weights/ready.signal}
status_url=${TB_STATUS_URL:-http://127.0.0.1:8001}
patience_s=${TB_STARTUP_TIMEOUT:-300}
max_loras=${TB_MAX_LORAS:-4}
max_lora_rank=${TB_MAX_LORA_RANK:-64}
shutdown_s=${TB_RUNTIME_SHUTDOWN_SECONDS-30}
model='' delivery='' generation='' mode=beside
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

while [ $# -gt 0 ]; do
  case $1 in
    --supervised) mode=supervised; shift; continue ;;
    --sentinel) mode=sentinel; shift; continue ;;
    --) shift; break ;;
    --kind | --name | --host | --port | --socket | --api-key-file | --model | --lora)
      [ $# -ge 2 ] || die 2 "$1 needs a value" ;;
    *) die 2 "unknown flag $1; what goes to the server stands behind --" ;;
  esac
  case $1 in
    --kind) kind=$2 ;;
    --name) name=$2 ;;
    --host) host=$2 ;;
    --port) port=$2 ;;
    --socket) socket=$2 ;;
    --api-key-file) key_file=$2 ;;
    --model) model=$2 ;;
    --lora) loras="$loras $2" ;;
  esac
  shift 2
done

# ---- what is taken ----------------------------------------------------------------------------------------------------
number() { # NAME VALUE MAXIMUM
  case $2 in '' | *[!0-9]* | 0?* | ???????*) die 2 "$1 is no number" ;; esac
  [ "$2" -le "$3" ] || die 2 "$1 is over $3"
}
path() { # NAME VALUE: absolute, of characters that mean nothing to anybody
  case $2 in
    *[!A-Za-z0-9._/+@:,=-]*) die 2 "$1 has a character that is refused" ;;
    */../* | */..) die 2 "$1 leads upwards" ;;
    /*) ;;
    *) die 2 "$1 is no absolute path" ;;
  esac
}
case $kind in auto | vllm | llama | triton | custom) ;; *) die 2 "TB_RUNTIME_KIND is none of auto, vllm, llama, triton, custom" ;; esac
case $host in 127.*[!0-9.]* | 127.) die 2 "TB_RUNTIME_HOST is no address" ;; 127.* | ::1 | localhost) ;; *) die 2 "TB_RUNTIME_HOST is not loopback: only the sentinel may reach the server" ;; esac
number TB_RUNTIME_PORT "$port" 65535
number TB_STARTUP_TIMEOUT "$patience_s" 86400
number TB_MAX_LORAS "$max_loras" 1024
number TB_MAX_LORA_RANK "$max_lora_rank" 4096
[ -z "$shutdown_s" ] || number TB_RUNTIME_SHUTDOWN_SECONDS "$shutdown_s" 3600
case $name in *[!A-Za-z0-9._:/-]* | [-/]*) die 2 "TB_SERVED_MODEL_NAME has a character that is refused" ;; esac
[ -z "$socket" ] || path TB_RUNTIME_SOCKET "$socket"
[ -z "$key_file" ] || path TB_RUNTIME_API_KEY_FILE "$key_file"
[ -z "$model" ] || path --model "$model"
case $status_url in http://127.*[!0-9.:]* | http://127.*@*) die 2 "TB_STATUS_URL is no loopback address" ;; http://127.* | http://localhost:[0-9]* | 'http://[::1]:'[0-9]*) ;; *) die 2 "TB_STATUS_URL is no loopback address" ;; esac
set -f # names of adapters are no patterns
for lora in $loras; do
  case $lora in *=*=* | =* | *=) die 2 "TB_LORA_MODULES holds something other than NAME=PATH" ;; *=*) ;; *) die 2 "TB_LORA_MODULES holds something other than NAME=PATH" ;; esac
  case ${lora%%=*} in *[!A-Za-z0-9._-]*) die 2 "the name of an adapter has a character that is refused" ;; esac
  path "the path of an adapter" "${lora#*=}"
done
if [ "$kind" != custom ]; then
  for argument in "$@"; do
    case $argument in
      --host* | --port* | --uds* | --api-key* | --http-address* | --http-port* | --model-repository* | --allow-grpc* | -m | --model | --model=*)
        die 2 "${argument%%=*} is said by a flag of this script" ;;
    esac
  done
fi

# ---- becoming the sentinel --------------------------------------------------------------------------------------------
if [ "$mode" = sentinel ]; then
  if [ -z "${TB_RUNTIME_COMMAND:-}" ]; then
    # Every value in it has passed above: none can end a JSON text.
    if [ "$kind" = custom ] || [ $# -gt 0 ]; then die 2 "with --sentinel, arguments of the server are said by TB_RUNTIME_COMMAND"; fi
    command="[\"/bin/sh\",\"$here/entrypoint.sh\",\"--supervised\",\"--model\",\"{model_path}\",\"--kind\",\"$kind\",\"--name\",\"{served_model_name}\""
    [ -z "$name" ] || export TB_SERVED_MODEL_NAME="$name"
    for lora in $loras; do command="$command,\"--lora\",\"$lora\""; done
    if [ -n "$socket" ]; then command="$command,\"--socket\",\"{runtime_socket}\"]"
    else command="$command,\"--host\",\"{runtime_host}\",\"--port\",\"{runtime_port}\"]"; fi
    export TB_RUNTIME_COMMAND="$command"
    export TB_RUNTIME_READ_PATHS="${TB_RUNTIME_READ_PATHS:-$here}"
    [ -z "$socket" ] || export TB_RUNTIME_URL="unix:$socket"
  fi
  # Said above, and no settings of the sentinel's.
  unset TB_RUNTIME_KIND TB_RUNTIME_SOCKET TB_RUNTIME_API_KEY_FILE TB_LORA_MODULES TB_STATUS_URL TB_SENTINEL_UID TB_RUNTIME_SHUTDOWN_SECONDS
  exec "$here/trustbridge-sentinel"
fi

# ---- waiting for the sentinel -----------------------------------------------------------------------------------------
progress() { # "STATE BYTES", or nothing while the sentinel does not answer
  if [ -x "$here/trustbridge-sentinel" ]; then
    "$here/trustbridge-sentinel" healthcheck --progress "$status_url" 2>/dev/null || :
  elif command -v curl >/dev/null 2>&1; then
    curl -s -m 5 --noproxy '*' "$status_url/status" 2>/dev/null |
      sed -n 's/.*"state":"\([A-Za-z]*\)".*"hydrate":{"bytes":\([0-9]*\).*/\1 \2/p' || :
  fi
}
field() { # of the ready signal: one line of JSON that the sentinel wrote; a text with an escape in it is not taken
  sed -n 's/.*"'"$1"'": *"\([^"\\]*\)".*/\1/p' "$signal" | head -n 1
}
read_signal() { # false if there is none that may be believed
  [ -f "$signal" ] && [ ! -h "$signal" ] || return 1
  facts=$(stat -c '%u %a' -- "$signal" 2>/dev/null) || return 1
  case ${facts#* } in *[2367][0-7] | *[2367]) die 3 "others may write the ready signal $signal" ;; esac
  case ${facts%% *} in 0 | "$(id -u)" | "${TB_SENTINEL_UID:-0}") ;; *) die 3 "the ready signal $signal is user ${facts%% *}'s: name the sentinel's user by TB_SENTINEL_UID" ;; esac
  generation=$(field generation) delivery=$(field delivery)
  signal_path=$(field path)
  bytes=$(sed -n 's/.*"plaintext_bytes": *\([0-9]*\).*/\1/p' "$signal" | head -n 1)
  grep -q '"ready": *true' "$signal" 2>/dev/null && [ -n "$generation" ] && [ -n "$signal_path" ]
}
same_signal() { [ -f "$signal" ] && [ "$(field generation)" = "$generation" ]; }

if [ "$mode" = beside ]; then
  say "waiting for $signal"
  seen='' waited_s=0
  until read_signal; do
    [ "$waited_s" -lt "$patience_s" ] || die 6 "nothing moved for $patience_s s; the sentinel last said: ${seen:-nothing}"
    sleep 1
    waited_s=$((waited_s + 1))
    now=$(progress)
    # A long download is no fault: what counts is whether it goes on.
    if [ -n "$now" ] && [ "$now" != "$seen" ]; then seen=$now waited_s=0; fi
  done
  [ -n "$model" ] || model=$signal_path
  path "the model's path in the ready signal" "$model"
  case $delivery in
    mount | tmpfs) ;;
    fifo) [ "$kind" = custom ] || die 3 "the delivery is a FIFO, which no server here can read: set TB_DELIVERY=tmpfs or mount" ;;
    *) die 4 "the ready signal names no delivery that is known" ;;
  esac
  if [ -f "$model" ] && [ -n "$bytes" ] && [ "$(stat -L -c %s -- "$model")" != "$bytes" ]; then
    die 4 "$model has another size than the ready signal says"
  fi
fi
[ -n "$model" ] || die 2 "--model is missing"
[ -e "$model" ] || die 5 "$model is not there"

# ---- which server -----------------------------------------------------------------------------------------------------
set +f
first_file() { # DIRECTORY PATTERN: the only match, or the first part of a model in parts
  found='' count=0
  for file in "$1"/$2; do
    [ -f "$file" ] || continue
    case $file in *-0000[2-9]-of-*.gguf | *-000[1-9][0-9]-of-*.gguf | *-00[1-9][0-9][0-9]-of-*.gguf) continue ;; esac
    found=$file count=$((count + 1))
  done
  [ "$count" -eq 1 ]
}
any_file() { # PATTERN…, expanded by the caller
  for file in "$@"; do [ ! -f "$file" ] || return 0; done
  return 1
}
looks_like() {
  if [ -f "$model" ]; then
    case $model in *.gguf) echo llama ;; esac
  elif any_file "$model"/*/config.pbtxt; then echo triton
  elif any_file "$model"/*.safetensors && [ -f "$model/config.json" ]; then echo vllm
  elif any_file "$model"/*.gguf; then echo llama
  fi
}
if [ "$kind" = auto ]; then
  kind=$(looks_like)
  [ -n "$kind" ] || die 4 "$model is no GGUF file, no directory of safetensors with a config.json, and no Triton repository: set TB_RUNTIME_KIND"
fi
program() { command -v "$1" >/dev/null 2>&1 || die 5 "the model wants $1, which this image does not have"; }
alias=${name:-model}

case $kind in
  vllm)
    program vllm
    [ -d "$model" ] || die 4 "vllm wants a directory, and $model is none"
    # As long as we said nothing of it, no adapter and no code comes from elsewhere, and nothing is reported anywhere.
    unset VLLM_SERVER_DEV_MODE VLLM_ALLOW_RUNTIME_LORA_UPDATING VLLM_PLUGINS
    export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
    scratch=${TMPDIR:-/tmp}
    export HF_HOME="${HF_HOME:-$scratch/hf}" VLLM_CACHE_ROOT="${VLLM_CACHE_ROOT:-$scratch/vllm}" VLLM_CONFIG_ROOT="${VLLM_CONFIG_ROOT:-$scratch/vllm-config}"
    if [ -n "$key_file" ]; then
      # By the environment, as it takes no file and an argument is everybody's to read.
      VLLM_API_KEY=$(cat -- "$key_file") || die 3 "$key_file cannot be read"
      export VLLM_API_KEY
    fi
    if [ -n "$loras" ]; then
      set -f
      # shellcheck disable=SC2086 # words were checked one by one above
      set -- --enable-lora --max-loras "$max_loras" --max-lora-rank "$max_lora_rank" --lora-modules $loras "$@"
    fi
    # Mapping pages through FUSE one by one is slow: read whole files.
    [ "$delivery" != mount ] || set -- --safetensors-load-strategy eager "$@"
    [ -z "$shutdown_s" ] || set -- --shutdown-timeout "$shutdown_s" "$@"
    if [ -n "$socket" ]; then set -- --uds "$socket" "$@"; else set -- --host "$host" --port "$port" "$@"; fi
    set -- vllm serve "$model" --served-model-name "$alias" --disable-fastapi-docs "$@"
    ;;
  llama)
    program llama-server
    if [ -d "$model" ]; then
      first_file "$model" '*.gguf' || die 4 "$model holds $count GGUF models, want one"
      model=$found
    fi
    if [ -n "$loras" ]; then
      adapters=''
      for lora in $loras; do adapters="${adapters:+$adapters,}${lora#*=}"; done
      set -- --lora "$adapters" "$@"
    fi
    [ -z "$key_file" ] || set -- --api-key-file "$key_file" "$@"
    if [ -n "$socket" ]; then
      case $socket in *.sock) ;; *) die 2 "llama-server takes a socket only if its name ends in .sock" ;; esac
      set -- --host "$socket" "$@"
    else
      set -- --host "$host" --port "$port" "$@"
    fi
    # Slots show prompts of others; without an alias the model's name is its path.
    set -- llama-server -m "$model" --alias "$alias" --no-slots --offline --metrics "$@"
    ;;
  triton)
    program tritonserver
    [ -d "$model" ] || die 4 "triton wants a model repository, and $model is no directory"
    [ -z "$socket" ] || die 2 "triton takes no unix socket"
    [ -z "$loras" ] || die 2 "triton takes adapters by its models' own configuration"
    [ -z "$key_file" ] || die 2 "triton takes no API key"
    [ -z "$shutdown_s" ] || set -- "--exit-timeout-secs=$shutdown_s" "$@"
    set -- tritonserver "--model-repository=$model" "--http-address=$host" "--http-port=$port" --allow-grpc=false \
      --model-control-mode=none --log-verbose=0 "$@"
    ;;
  custom)
    [ $# -gt 0 ] || die 2 "TB_RUNTIME_KIND=custom wants a command behind --"
    count=$#
    while [ "$count" -gt 0 ]; do
      argument=$1
      shift
      case $argument in
        '{model_path}') argument=$model ;;
        '{host}') argument=$host ;;
        '{port}') argument=$port ;;
        '{socket}') argument=$socket ;;
        '{name}') argument=$alias ;;
      esac
      set -- "$@" "$argument"
      count=$((count - 1))
    done
    program "$1"
    ;;
esac

# ---- becoming the server ----------------------------------------------------------------------------------------------
if [ "$mode" = beside ]; then
  # One that a killed server left would keep the next from listening.
  if [ -n "$socket" ] && [ -S "$socket" ]; then rm -f -- "$socket"; fi
  # The sentinel cannot end what it has not started: this watcher does, when the delivery is withdrawn or another has
  # taken its place. $$ is the server's own number, as the server takes this shell's place.
  alive() { # false for a server that has ended and whose parent has not looked yet
    case $(cat "/proc/$$/stat" 2>/dev/null) in '' | *') Z '* | *') X '*) return 1 ;; esac
  }
  (
    trap '' HUP INT
    while same_signal && alive; do sleep 1; done
    if alive; then
      say "the delivery was withdrawn: ending the server"
      kill -TERM $$ 2>/dev/null || :
      left_s=${shutdown_s:-30}
      while [ "$left_s" -gt 0 ] && alive; do sleep 1; left_s=$((left_s - 1)); done
      kill -KILL $$ 2>/dev/null || :
    fi
  ) </dev/null >/dev/null &
fi
unset TB_ACTIVATION_TOKEN_FILE TB_RUNTIME_API_KEY_FILE
say "starting $1 on $model"
exec "$@"

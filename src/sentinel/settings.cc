#include "sentinel/settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "base/fs.h"
#include "base/json.h"

namespace tb::sentinel {
namespace {

using enum Kind;
using enum Support;

constexpr std::array kSettings = {
    Setting{"TB_CONTRACT_ID", kText, "", "the contract to serve under; required"},
    Setting{"TB_ASSET_ID", kText, "", "the asset to serve; required"},
    Setting{"TB_EDC_ENDPOINT", kText, "", "URL of the control plane; required"},
    Setting{"TB_ACTIVATION_TOKEN_FILE", kText, "", "0600 file with the contract's activation token"},
    Setting{"TB_CONTROL_PLANE_KEY", kText, "",
            "file with the control plane's key (base64url): its signed grant is then required; default: the key in the "
            "second line of the activation token file, if there is one"},
    Setting{"TB_KEY_RELEASE", kText, "wrapped",
            "how the file key may come: `wrapped`, or `plain` for an old control plane"},
    Setting{"TB_CA_PATH", kText, "",
            "PEM bundle to verify the control plane and the blob store with; default: the system's"},
    Setting{"TB_CLIENT_CERT_PATH", kText, "", "PEM client certificate for the control plane"},
    Setting{"TB_CLIENT_KEY_PATH", kText, "", "its key"},
    Setting{"TB_ALLOW_INSECURE_HTTP", kSwitch, "false", "allow plain HTTP to hosts that are not loopback"},
    Setting{"TB_ALLOW_PRIVATE_NETWORKS", kSwitch, "false", "allow signed URLs that lead to private addresses"},
    Setting{"TB_HW_ID_FILE", kText, "", "file whose text identifies this machine, for containers"},
    Setting{"TB_VM_GENERATION_FILE", kText, "",
            "a file that changes when this VM is restored or copied: the lease is then renewed before it serves on"},
    Setting{"TB_PROVIDER_KEY", kText, "",
            "file with the provider's Ed25519 public key (base64url): its signature is then required"},
    Setting{"TB_ALLOW_UNAUTHENTICATED_MANIFEST", kSwitch, "false", "accept a manifest that nothing proves"},
    Setting{"TB_DELIVERY", kText, "auto", "`auto`, `mount`, `tmpfs` or `fifo`; see below"},
    Setting{"TB_MODEL_DIR", kText, "/dev/shm/trustbridge/model",
            "where `mount` and `tmpfs` put the model; must be memory"},
    Setting{"TB_PIPE_PATH", kText, "/dev/shm/model-pipe", "the FIFO of `fifo`"},
    Setting{"TB_READY_SIGNAL", kText, "/dev/shm/weights/ready.signal", "file that says that the model can be read"},
    Setting{"TB_HYDRATE", kText, "overlap",
            "`overlap`; `strict`: verify all before releasing any; `lazy`: a mount that fetches what is read first"},
    Setting{"TB_CACHE", kText, "disk", "where ciphertext is kept: `disk` or `memory`"},
    Setting{"TB_TARGET_DIR", kText, "/mnt/resource/trustbridge", "directory of the ciphertext cache"},
    Setting{"TB_DOWNLOAD_CONCURRENCY", kText, "4", "connections, 1 to 32, or `auto`"},
    Setting{"TB_DOWNLOAD_CHUNK_BYTES", kNumber, "8388608", "bytes asked for at once, 1024 to 67108864"},
    Setting{"TB_MAX_DOWNLOAD_BYTES_PER_SECOND", kNumber, "", "limit of the download's rate; default: none"},
    Setting{
        "TB_SOURCE", kText, "",
        "`file:/DIR` with `model.tbenc` and `model.manifest.json`, instead of signed URLs: for copies without a net"},
    Setting{"TB_ALLOW_SWAP", kSwitch, "false", "serve although memory can be swapped to a disk"},
    Setting{"TB_RUNTIME_URL", kText, "http://127.0.0.1:8081",
            "where the runtime answers: loopback, or `unix:/path`; port 0 with TB_RUNTIME_COMMAND: any free one"},
    Setting{"TB_RUNTIME_COMMAND", kCommand, "",
            "JSON array of arguments (no shell): the sentinel starts and supervises the runtime; see below", kUsed,
            true},
    Setting{
        "TB_RUNTIME_ISOLATION", kText, "full",
        "of a runtime that the sentinel starts: `full`; `partial`: what this machine can do, the rest is told; `off`. "
        "See docs/isolation.md"},
    Setting{
        "TB_RUNTIME_READ_PATHS", kList, "",
        "comma-separated files and directories that a confined runtime may read besides the system's: its own program, "
        "a Python environment"},
    Setting{
        "TB_RUNTIME_DEVICES", kList, "",
        "comma-separated device nodes that a confined runtime has, as `/dev/nvidia0,/dev/nvidiactl,/dev/nvidia-uvm`"},
    Setting{"TB_RUNTIME_SCRATCH_BYTES", kNumber, "1073741824",
            "memory behind all that a confined runtime can write: /tmp, /dev/shm and its home together"},
    Setting{"TB_RUNTIME_MEMORY_BYTES", kNumber, "",
            "memory of a confined runtime, all its processes together; default: no limit"},
    Setting{"TB_ALLOW_REACHABLE_RUNTIME", kSwitch, "false",
            "serve although the runtime's port can be reached past the sentinel, from other machines"},
    Setting{"TB_RUNTIME_HEALTH_PATH", kText, "/health", "the runtime's own health path"},
    Setting{"TB_RUNTIME_UID", kText, "",
            "user that reads the model, by number or by its name in /etc/passwd; required unless TB_ALLOW_SHARED_UID"},
    Setting{"TB_ALLOW_SHARED_UID", kSwitch, "false", "let the runtime run as the sentinel's own user"},
    Setting{"TB_STARTUP_TIMEOUT", kNumber, "300", "seconds that a runtime may take to answer its health path"},
    Setting{"TB_PUBLIC_ADDR", kText, "0.0.0.0:8000", "where users' requests are taken, from the first Ready on"},
    Setting{"TB_HEALTH_ADDR", kText, "0.0.0.0:8001", "health, status and metrics"},
    Setting{"TB_TLS_CERT_PATH", kText, "", "PEM certificate chain of the public address"},
    Setting{"TB_TLS_KEY_PATH", kText, "", "its key"},
    Setting{"TB_TLS_CLIENT_CA_PATH", kText, "",
            "PEM: client certificates are verified against it; required unless TB_TLS_CLIENT_SUBJECTS is set"},
    Setting{"TB_TLS_CLIENT_SUBJECTS", kList, "",
            "comma-separated names in client certificates (URI, DNS name, e-mail address or common name): these "
            "need no key, others do"},
    Setting{"TB_PROXY_HTTP2", kSwitch, "true", "offer HTTP/2 where the public address has TLS"},
    Setting{"TB_API_KEYS_FILE", kText, "", "hashed API keys; default `$TB_STATE_DIR/api-keys`"},
    Setting{"TB_ALLOW_ANONYMOUS", kSwitch, "false", "serve without API keys"},
    Setting{"TB_JWT_KEYS", kText, "",
            "JWK set of an issuer whose tokens let in, too: a file, or an https URL; see docs/access.md"},
    Setting{"TB_JWT_ISSUER", kText, "", "the `iss` of its tokens; required with TB_JWT_KEYS"},
    Setting{"TB_JWT_AUDIENCE", kText, "", "an `aud` of its tokens; required with TB_JWT_KEYS"},
    Setting{"TB_JWT_SCOPE", kText, "", "a scope that its tokens must have; default: none"},
    Setting{"TB_SERVED_MODEL_NAME", kText, "",
            "stands in answers where the runtime tells a path of the model; default: TB_ASSET_ID"},
    Setting{"TB_HIDDEN_PATHS", kList, "",
            "comma-separated paths that answers must not tell, beside TB_MODEL_DIR and TB_PIPE_PATH: where a runtime "
            "in another container sees the model"},
    Setting{"TB_ALLOWED_PATHS", kList, "",
            "comma-separated patterns of the allow-list; default: all of it; can only narrow"},
    Setting{"TB_MAX_BODY_BYTES", kNumber, "1073741824", "longest request body"},
    Setting{"TB_DRAIN_SECONDS", kNumber, "30", "how long requests may finish after SIGTERM"},
    Setting{
        "TB_DRAIN_ACCEPT_MS", kNumber, "2000",
        "how much of that new requests are taken for, while others learn to go elsewhere, at most half; with --dev: 0"},
    Setting{"TB_STATE_DIR", kText, "/var/lib/trustbridge-sentinel",
            "keys, audit log and what survives a restart; 0700"},
    Setting{"TB_AUDIT_DIR", kText, "", "audit log; default `$TB_STATE_DIR/audit`"},
    Setting{"TB_AUDIT_HASH_RESPONSES", kSwitch, "true", "put a hash of the answer into each audit record"},
    Setting{"TB_AUDIT_KEYED", kSwitch, "true",
            "hash bodies under a key of the consumer's, so that prompts cannot be guessed"},
    Setting{"TB_AUDIT_CHECKPOINT_SECONDS", kNumber, "60",
            "how often the audit log is signed and shown to the control plane, which countersigns it"},
    Setting{"TB_AUDIT_SEGMENT_BYTES", kNumber, "67108864",
            "a part of the audit log of this size is closed and the next begun, as at each end of a day (UTC)"},
    Setting{"TB_AUDIT_RETENTION_DAYS", kNumber, "0",
            "closed parts that are older are deleted, once they are countersigned; 0: none is"},
    Setting{"TB_MODEL_CONTEXT_TOKENS", kNumber, "131072",
            "longest context of the model: the worst case of a request that sets no limit; see docs/metering.md"},
    Setting{"TB_BILLING_INTERVAL", kText, "60s", "how often usage is reported"},
    Setting{"TB_BILLING_ENABLED", kSwitch, "false",
            "report usage to a marketplace, too; where only one sentinel serves the contract"},
    Setting{"TB_BILLING_DIMENSION", kList, "requests",
            "comma-separated: `requests`, `tokens`, `input_tokens`, `output_tokens`, `bytes`, `gb_transferred`, "
            "`gpu_minutes`"},
    Setting{"TB_BILLING_RESOURCE_ID", kText, "", "whose usage it is; required with TB_BILLING_ENABLED"},
    Setting{"TB_BILLING_PLAN_ID", kText, "", "its plan; required with TB_BILLING_ENABLED"},
    Setting{"TB_BILLING_CREDENTIAL", kText, "managed-identity",
            "`managed-identity`, `managed-identity:CLIENT_ID`, `workload-identity` or `client-secret-file:/PATH`"},
    Setting{"TB_METERING_ENDPOINT", kText, "https://marketplaceapi.microsoft.com", "the marketplace's metering API"},
    Setting{"TB_EXIT_ON_DENIAL", kSwitch, "false", "exit 3 instead of staying Suspended"},
    Setting{"TB_LOG_LEVEL", kText, "info", "`debug`, `info`, `warn` or `error`"},
    Setting{"TB_ATTESTATION", kText, "none",
            "evidence of this machine's state: `none`, `tpm`, `snp` or `token`; see docs/attestation.md"},
    Setting{"TB_TPM_TCTI", kText, "", "the TPM, as tpm2-tss names it; default: `device:/dev/tpmrm0`"},
    Setting{
        "TB_SNP_CERTIFICATES", kText, "",
        "PEM: certificates of this processor's key and of the one above it, where the host of the machine gives none"},
    Setting{"TB_ATTESTATION_TOKEN_COMMAND", kCommand, "",
            "JSON array of arguments (no shell): reads the digest of a request and prints a token of the platform's "
            "attestation service",
            kUsed, true},
    Setting{"TB_FINETUNE_ENABLED", kSwitch, "false", "training of adapters", kRefused},
    Setting{"TB_ADAPTERS_DIR", kText, "/mnt/adapters", "of fine-tuning", kIgnored},
    Setting{"TB_TRAINING_DATA_DIR", kText, "/mnt/training", "of fine-tuning", kIgnored},
    Setting{"TB_MAX_ADAPTERS", kNumber, "10", "of fine-tuning", kIgnored},
    Setting{"TB_MAX_TRAINING_DATA_GB", kNumber, "50", "of fine-tuning", kIgnored},
    Setting{"TB_MAX_CONCURRENT_JOBS", kNumber, "1", "of fine-tuning", kIgnored},
    Setting{"TB_DEFAULT_LORA_R", kNumber, "16", "of fine-tuning", kIgnored},
    Setting{"TB_DEFAULT_LORA_ALPHA", kNumber, "32", "of fine-tuning", kIgnored},
    Setting{"TB_DEFAULT_EPOCHS", kNumber, "3", "of fine-tuning", kIgnored},
    Setting{"TB_DEFAULT_BATCH_SIZE", kNumber, "4", "of fine-tuning", kIgnored},
    Setting{"TB_MAX_LORAS", kNumber, "4", "of fine-tuning", kIgnored},
    Setting{"TB_MAX_LORA_RANK", kNumber, "64", "of fine-tuning", kIgnored},
    Setting{"TB_RUNTIME_HOST", kText, "127.0.0.1", "of the runtime's entrypoint", kIgnored},
    Setting{"TB_RUNTIME_PORT", kNumber, "8081", "of the runtime's entrypoint", kIgnored},
};

/// Settings that name a file which a service manager can hand over as a credential: the file's name there, and the
/// setting that is then its path.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kCredentials = {{
    {"activation-token", "TB_ACTIVATION_TOKEN_FILE"},
    {"api-keys", "TB_API_KEYS_FILE"},
    {"ca", "TB_CA_PATH"},
    {"client-cert", "TB_CLIENT_CERT_PATH"},
    {"client-key", "TB_CLIENT_KEY_PATH"},
    {"control-plane-key", "TB_CONTROL_PLANE_KEY"},
    {"hw-id", "TB_HW_ID_FILE"},
    {"provider-key", "TB_PROVIDER_KEY"},
    {"snp-certificates", "TB_SNP_CERTIFICATES"},
    {"tls-cert", "TB_TLS_CERT_PATH"},
    {"tls-client-ca", "TB_TLS_CLIENT_CA_PATH"},
    {"tls-key", "TB_TLS_KEY_PATH"},
}};

/// The path of the credential that gives `setting`, where the service manager has handed one over.
std::optional<std::string> credential_for(std::string_view setting, const Environment& environment) {
  const auto it = std::ranges::find(kCredentials, setting, &std::pair<std::string_view, std::string_view>::second);
  const auto directory = environment("CREDENTIALS_DIRECTORY");
  if (it == kCredentials.end() || !directory || !directory->starts_with('/')) return std::nullopt;
  std::string path = fmt::format("{}/{}", *directory, it->first);
  return access(path.c_str(), F_OK) == 0 ? std::optional(std::move(path)) : std::nullopt;
}

const Setting* find_setting(std::string_view name) {
  const auto it = std::ranges::find(kSettings, name, &Setting::name);
  return it == kSettings.end() ? nullptr : &*it;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

const Setting* find_by(std::string (*spelling)(std::string_view), std::string_view text) {
  const auto it = std::ranges::find_if(kSettings, [&](const Setting& s) { return spelling(s.name) == text; });
  return it == kSettings.end() ? nullptr : &*it;
}

struct FlagValues {
  std::map<std::string, std::string, std::less<>> by_name;
  std::string config_path;
};

void read_flags(const std::vector<std::string>& arguments, FlagValues& out, Settings& settings,
                std::vector<std::string>& faults) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const std::size_t equals = argument.find('=');
    const std::string flag = argument.substr(0, equals);
    if (flag == "--print-evidence") {
      settings.print_evidence = true;
      continue;
    }
    if (flag == "--isolation-report") {
      settings.isolation_report = true;
      continue;
    }
    if (flag == "--json") {
      settings.json = true;
      continue;
    }
    if (flag == "--print-config") {
      settings.print_config = true;
      continue;
    }
    const Setting* setting = find_by(flag_of, flag);
    if (setting == nullptr && flag != "--config" && flag != "--dev") {
      faults.push_back(fmt::format("unknown argument {}", flag));
      continue;
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (setting != nullptr && setting->kind == kSwitch) {
      value = "true";
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      faults.push_back(fmt::format("{} needs a value", flag));
      continue;
    }
    std::string& slot = setting != nullptr ? out.by_name[std::string(setting->name)]
                        : flag == "--dev"  ? settings.dev_dir
                                           : out.config_path;
    if (!slot.empty()) faults.push_back(fmt::format("{} is given twice", flag));
    slot = value;
  }
}

/// A TOML value in the text form that the environment would have.
std::optional<std::string> text_of(const toml::node& node, Kind kind) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto number = node.value_exact<std::int64_t>()) return std::to_string(*number);
  if (const auto truth = node.value_exact<bool>()) return *truth ? "true" : "false";
  const toml::array* array = node.as_array();
  if (array == nullptr || (kind != kList && kind != kCommand)) return std::nullopt;
  Json json = Json::array();
  std::string list;
  for (const toml::node& item : *array) {
    const auto text = item.value_exact<std::string>();
    if (!text) return std::nullopt;
    json.push(*text);
    list += (list.empty() ? "" : ",") + *text;
  }
  return kind == kCommand ? json.dump() : list;
}

std::map<std::string, std::string, std::less<>> read_file(const std::string& path, std::vector<std::string>& faults) {
  std::map<std::string, std::string, std::less<>> out;
  const auto content = read_small_file(path);
  if (!content) {
    faults.push_back(fmt::format("--config: {}", content.error().story()));
    return out;
  }
  try {
    for (const auto& [key, node] : toml::parse(*content)) {
      const Setting* setting = find_by(key_of, key.str());
      if (setting == nullptr) {
        faults.push_back(fmt::format("{}: unknown key {}", path, key.str()));
        continue;
      }
      if (auto text = text_of(node, setting->kind)) {
        out[std::string(setting->name)] = std::move(*text);
      } else {
        faults.push_back(fmt::format("{}: {} has a value of the wrong type", path, key.str()));
      }
    }
  } catch (const toml::parse_error& error) {
    faults.push_back(fmt::format("{}: line {}: {}", path, error.source().begin.line, error.description()));
  }
  return out;
}

/// Refused settings may be spelled out with a value that asks for nothing.
bool asks_for_nothing(const Setting& setting, std::string_view text) {
  return text.empty() || (setting.kind == kSwitch && (text == "false" || text == "0"));
}

}  // namespace

std::span<const Setting> all_settings() {
  return kSettings;
}

std::string key_of(std::string_view name) {
  std::string out(name.substr(3));
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

std::string flag_of(std::string_view name) {
  std::string out = "--" + key_of(name);
  std::ranges::replace(out, '_', '-');
  return out;
}

Environment process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

std::vector<std::string> process_variables() {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

std::vector<std::string> unknown_variables() {
  std::vector<std::string> out;
  for (const std::string& entry : process_variables()) {
    const std::string_view name = std::string_view(entry).substr(0, entry.find('='));
    if (name.starts_with("TB_") && !name.starts_with("TB_CP_") && find_setting(name) == nullptr) out.emplace_back(name);
  }
  return out;
}

const std::string& Settings::text(std::string_view name) const {
  return values.find(name)->second.text;
}

bool Settings::is_given(std::string_view name) const {
  return values.find(name)->second.source != "default";
}

Settings resolve_settings(const std::vector<std::string>& arguments, const Environment& environment,
                          std::vector<std::string>& faults) {
  Settings settings;
  FlagValues flags;
  read_flags(arguments, flags, settings, faults);
  const auto file = flags.config_path.empty() ? std::map<std::string, std::string, std::less<>>{}
                                              : read_file(flags.config_path, faults);
  for (const Setting& setting : kSettings) {
    Value value{std::string(setting.fallback), "default"};
    if (const auto flag = flags.by_name.find(setting.name); flag != flags.by_name.end()) {
      value = {flag->second, "flag"};
    } else if (auto variable = environment(setting.name); variable && !variable->empty()) {
      value = {std::move(*variable), "environment"};
    } else if (const auto entry = file.find(setting.name); entry != file.end()) {
      value = {entry->second, "file"};
    } else if (auto credential = credential_for(setting.name, environment)) {
      value = {std::move(*credential), "credential"};
    }
    if (value.source != "default" && setting.support == kIgnored && value.text != setting.fallback) {
      settings.notes.push_back(fmt::format("{} is not used by this version", setting.name));
    }
    if (setting.support == kRefused && !asks_for_nothing(setting, value.text)) {
      faults.push_back(fmt::format("{} ({}) is not in this version", setting.name, setting.help));
    }
    settings.values.emplace(setting.name, std::move(value));
  }
  return settings;
}

std::string config_document() {
  std::string out =
      "# Configuration of the sentinel\n\n"
      "Printed by `trustbridge-sentinel --print-config-doc` from the table in `src/sentinel/settings.cc`; a test holds "
      "this\n"
      "page against it.\n\n"
      "Each setting is a flag, an environment variable and a key of `--config FILE` (TOML), in this order of "
      "precedence, and\n"
      "has a default. All faults are reported together, with exit status 2. `--print-config` shows what is in force, "
      "and from\n"
      "where. `--dev DIR` is for a laptop: paths under DIR or in memory, loopback only, free ports, swap and a shared "
      "user\n"
      "allowed; the addresses in use stand in `DIR/state/addresses.json`.\n\n"
      "| variable | flag | default | meaning |\n|---|---|---|---|\n";
  for (const Setting& setting : kSettings) {
    if (setting.support != kUsed) continue;
    out += fmt::format("| `{}` | `{}` | {} | {} |\n", setting.name, flag_of(setting.name),
                       setting.fallback.empty() ? std::string() : fmt::format("`{}`", setting.fallback), setting.help);
  }
  out +=
      "\n## Credentials of systemd\n\n"
      "What these settings name can be handed over by a service manager instead (`LoadCredential=`, "
      "`LoadCredentialEncrypted=`): a file\n"
      "of this name in `$CREDENTIALS_DIRECTORY` is used where the setting is given in no other way.\n\n"
      "| credential | setting |\n|---|---|\n";
  for (const auto& [credential, setting] : kCredentials) out += fmt::format("| `{}` | `{}` |\n", credential, setting);
  out +=
      "\n## Delivery\n\n"
      "`TB_DELIVERY=auto` gives the runtime a read-only mount of the model's files where FUSE works and the runtime "
      "will "
      "see it\n"
      "(the sentinel starts it, or `TB_MODEL_DIR` lies on shared propagation), else files in memory, and a FIFO for "
      "what "
      "the\n"
      "first implementation encrypted. [delivery.md](delivery.md) says what each needs and what happens when something "
      "goes\n"
      "wrong.\n\n"
      "## The runtime's command\n\n"
      "`TB_RUNTIME_COMMAND` is a JSON array of strings: the program and its arguments, run without a shell. In each of "
      "them\n"
      "these words are replaced:\n\n"
      "| word | by |\n|---|---|\n"
      "| `{model_path}` | what the delivery gives: the model's file, its directory, or the FIFO |\n"
      "| `{model_dir}` | the same for a directory; for a file, the directory that it lies in |\n"
      "| `{served_model_name}` | `TB_SERVED_MODEL_NAME`, or the asset's id: for `--served-model-name` (vLLM) and "
      "`--alias` "
      "(llama-server) |\n"
      "| `{runtime_host}` | host of `TB_RUNTIME_URL` |\n"
      "| `{runtime_port}` | port of `TB_RUNTIME_URL`, the chosen one if that was 0 |\n"
      "| `{runtime_socket}` | path of a `unix:` URL |\n"
      "| `{api_key_file}` | a file in memory with a key of this start, which the sentinel then sends as "
      "`Authorization: "
      "Bearer`: for a\n"
      "runtime that takes one, where its port could be reached by others |\n\n"
      "The runtime is confined ([isolation.md](isolation.md)) unless `TB_RUNTIME_ISOLATION=off`. It gets a clean "
      "environment (`PATH`, `HOME`, `LANG`, `TZ`, `TMPDIR`, and what does not begin with "
      "`TB_`, less\n"
      "names that look like credentials; a confined one has its own `HOME` and `TMPDIR`), its own process group, no "
      "new "
      "privileges, no core dumps, and "
      "`TB_RUNTIME_UID` where\n"
      "the sentinel runs as root. It ends with the sentinel.\n\n"
      "## Accepted, not used in this version\n\n";
  for (const Setting& setting : kSettings) {
    if (setting.support == kIgnored) out += fmt::format("- `{}` ({})\n", setting.name, setting.help);
  }
  out += "\n## Refused in this version\n\n";
  for (const Setting& setting : kSettings) {
    if (setting.support == kRefused) out += fmt::format("- `{}` ({})\n", setting.name, setting.help);
  }
  return out;
}

}  // namespace tb::sentinel

#include "sentinel/config.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>

#include "api/asset.h"
#include "api/usage.h"
#include "base/fs.h"
#include "base/json.h"
#include "http/address.h"
#include "sentinel/proxy/rules.h"

namespace tb::sentinel {
namespace {

using Faults = std::vector<std::string>;

/// Typed reading of the settings; each fault names the variable.
class Reader {
 public:
  Reader(const Settings& settings, Faults& faults) : settings_(settings), faults_(faults) {}

  const std::string& text(std::string_view name) const { return settings_.text(name); }
  void fault(std::string_view name, std::string_view what) { faults_.push_back(fmt::format("{} {}", name, what)); }

  bool truth(std::string_view name) {
    const std::string& value = text(name);
    if (value == "true" || value == "1") return true;
    if (value != "false" && value != "0" && !value.empty()) fault(name, "must be true or false");
    return false;
  }

  std::uint64_t number(std::string_view name, std::uint64_t min, std::uint64_t max) {
    const std::string& value = text(name);
    std::uint64_t out = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    if (error != std::errc() || end != value.data() + value.size() || out < min || out > max) {
      fault(name, fmt::format("must be a number from {} to {}", min, max));
      return min;
    }
    return out;
  }

  /// The index of the value among `choices`.
  std::size_t choice(std::string_view name, std::initializer_list<std::string_view> choices) {
    const auto it = std::ranges::find(choices, std::string_view(text(name)));
    if (it != choices.end()) return static_cast<std::size_t>(it - choices.begin());
    fault(name, fmt::format("must be one of: {}", fmt::join(choices, " ")));
    return 0;
  }

  /// Comma-separated, without blanks.
  std::vector<std::string> list(std::string_view name) {
    std::vector<std::string> out;
    for (std::string_view rest = text(name); !rest.empty();) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      out.emplace_back(rest.substr(0, comma));
      std::erase(out.back(), ' ');
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    return out;
  }

  std::string path(std::string_view name) {
    const std::string& value = text(name);
    if (!value.empty() && !value.starts_with('/')) fault(name, "must be an absolute path");
    return value;
  }

 private:
  const Settings& settings_;
  Faults& faults_;
};

/// A JSON array of arguments, the program first; empty where it is not given.
std::vector<std::string> read_command(Reader& reader, std::string_view name) {
  const std::string& text = reader.text(name);
  std::vector<std::string> out;
  if (text.empty()) return out;
  const auto json = Json::parse(text);
  const bool is_list = json && json->is_array() && !json->as_array().empty() &&
                       std::ranges::all_of(json->as_array(), [](const Json& item) {
                         return item.is_string() && item.as_string().find('\0') == std::string::npos;
                       });
  if (!is_list || json->as_array().front().as_string().empty()) {
    reader.fault(name, "must be a JSON array of strings, the program first");
    return out;
  }
  for (const Json& item : json->as_array()) out.push_back(item.as_string());
  return out;
}

void read_billing(Reader& reader, Config& config) {
  config.model_context_tokens =
      static_cast<std::int64_t>(reader.number("TB_MODEL_CONTEXT_TOKENS", 1, std::uint64_t{1} << 30));
  const auto every = duration_ms(reader.text("TB_BILLING_INTERVAL"));
  if (!every || *every < 1'000 || *every > api::kHourMs) {
    reader.fault("TB_BILLING_INTERVAL", "must be a time from 1s to 1h");
  } else {
    config.report_ms = *every;
  }
  Config::Billing billing{.endpoint = reader.text("TB_METERING_ENDPOINT"),
                          .resource = reader.text("TB_BILLING_RESOURCE_ID"),
                          .plan = reader.text("TB_BILLING_PLAN_ID"),
                          .credential = reader.text("TB_BILLING_CREDENTIAL"),
                          .dimensions = reader.list("TB_BILLING_DIMENSION")};
  while (billing.endpoint.ends_with('/')) billing.endpoint.pop_back();
  for (const auto& dimension : billing.dimensions) {
    if (!api::valid_dimension(dimension)) reader.fault("TB_BILLING_DIMENSION", "names no dimension: " + dimension);
  }
  if (!reader.truth("TB_BILLING_ENABLED")) return;
  if (const auto fault = endpoint_fault(billing.endpoint, false); !fault.empty()) {
    reader.fault("TB_METERING_ENDPOINT", fault);
  }
  for (const auto* name : {"TB_BILLING_RESOURCE_ID", "TB_BILLING_PLAN_ID", "TB_BILLING_DIMENSION"}) {
    if (reader.text(name).empty()) reader.fault(name, "is required with TB_BILLING_ENABLED");
  }
  config.billing = std::move(billing);
}

void read_attestation(Reader& reader, Config& config) {
  config.attestation =
      std::array{AttestationChoice::kNone, AttestationChoice::kTpm, AttestationChoice::kSnp,
                 AttestationChoice::kToken}[reader.choice("TB_ATTESTATION", {"none", "tpm", "snp", "token"})];
  config.tpm_tcti = reader.text("TB_TPM_TCTI");
  config.snp_certificates_path = reader.text("TB_SNP_CERTIFICATES");
  config.attestation_token_command = read_command(reader, "TB_ATTESTATION_TOKEN_COMMAND");
  if (config.attestation != AttestationChoice::kNone && config.plain_key_allowed) {
    reader.fault("TB_ATTESTATION", "needs TB_KEY_RELEASE=wrapped: evidence binds a one-time key");
  }
  if (config.attestation == AttestationChoice::kToken && reader.text("TB_ATTESTATION_TOKEN_COMMAND").empty()) {
    reader.fault("TB_ATTESTATION_TOKEN_COMMAND", "is required with TB_ATTESTATION=token");
  }
}

std::optional<Ed25519PublicKey> read_key(Reader& reader, std::string_view name) {
  const std::string& path = reader.text(name);
  if (path.empty()) return std::nullopt;
  auto text = read_small_file(path, 4096);
  while (text && !text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  const auto raw = text ? from_base64url(*text) : Result<Bytes>(std::unexpected(text.error()));
  if (!raw || raw->size() != 32) {
    reader.fault(name, "must name a file with the base64url of a 32-byte Ed25519 public key");
    return std::nullopt;
  }
  Ed25519PublicKey key{};
  std::ranges::copy(*raw, key.begin());
  return key;
}

void read_identity(Reader& reader, Config& config) {
  config.contract_id = reader.text("TB_CONTRACT_ID");
  config.asset_id = reader.text("TB_ASSET_ID");
  config.control_plane_url = reader.text("TB_EDC_ENDPOINT");
  config.allow_insecure_http = reader.truth("TB_ALLOW_INSECURE_HTTP");
  config.allow_private_networks = reader.truth("TB_ALLOW_PRIVATE_NETWORKS");
  if (config.contract_id.empty()) {
    reader.fault("TB_CONTRACT_ID", "is required");
  } else if (!api::valid_name(config.contract_id)) {
    reader.fault("TB_CONTRACT_ID", "may hold letters, digits, _ and - only, 64 at most");
  }
  if (config.asset_id.empty()) {
    reader.fault("TB_ASSET_ID", "is required");
  } else if (!api::valid_asset_id(config.asset_id)) {
    reader.fault("TB_ASSET_ID", "may hold letters, digits, _ and - only, 100 at most");
  }
  if (config.control_plane_url.empty()) {
    reader.fault("TB_EDC_ENDPOINT", "is required");
  } else if (const auto fault = endpoint_fault(config.control_plane_url, config.allow_insecure_http); !fault.empty()) {
    reader.fault("TB_EDC_ENDPOINT", fault);
  }
  while (config.control_plane_url.ends_with('/')) config.control_plane_url.pop_back();
  config.control_plane_is_loopback = http::is_loopback_host(host_of(config.control_plane_url));
  config.activation_token_file = reader.text("TB_ACTIVATION_TOKEN_FILE");
  config.plain_key_allowed = reader.choice("TB_KEY_RELEASE", {"wrapped", "plain"}) == 1;
  config.ca_path = reader.text("TB_CA_PATH");
  config.client_cert_path = reader.text("TB_CLIENT_CERT_PATH");
  config.client_key_path = reader.text("TB_CLIENT_KEY_PATH");
  if (config.client_cert_path.empty() != config.client_key_path.empty()) {
    reader.fault("TB_CLIENT_CERT_PATH", "and TB_CLIENT_KEY_PATH go together");
  }
  config.hw_id_file = reader.text("TB_HW_ID_FILE");
  config.vm_generation_file = reader.text("TB_VM_GENERATION_FILE");
  config.allow_unauthenticated_manifest = reader.truth("TB_ALLOW_UNAUTHENTICATED_MANIFEST");
  read_attestation(reader, config);
  config.provider_key = read_key(reader, "TB_PROVIDER_KEY");
  config.control_plane_key = read_key(reader, "TB_CONTROL_PLANE_KEY");
}

void read_delivery(Reader& reader, const Settings& settings, Config& config) {
  const std::string memory =
      config.dev ? fmt::format("/dev/shm/trustbridge-dev-{}-{}", getuid(), sha256_hex(settings.dev_dir).substr(0, 12))
                 : std::string();
  const auto place = [&](std::string_view name, const std::string& dev_place) {
    return config.dev && !settings.is_given(name) ? dev_place : reader.path(name);
  };
  config.delivery = std::array{DeliveryChoice::kAuto, DeliveryChoice::kMount, DeliveryChoice::kTmpfs,
                               DeliveryChoice::kFifo}[reader.choice("TB_DELIVERY", {"auto", "mount", "tmpfs", "fifo"})];
  config.model_dir = place("TB_MODEL_DIR", memory + "/model");
  config.pipe_path = place("TB_PIPE_PATH", memory + "/model-pipe");
  config.ready_signal = place("TB_READY_SIGNAL", memory + "/ready.signal");
  config.target_dir = place("TB_TARGET_DIR", settings.dev_dir + "/cache");
  config.state_dir = place("TB_STATE_DIR", settings.dev_dir + "/state");
  config.audit_dir = settings.is_given("TB_AUDIT_DIR") ? reader.path("TB_AUDIT_DIR") : config.state_dir + "/audit";
  config.api_keys_file =
      settings.is_given("TB_API_KEYS_FILE") ? reader.path("TB_API_KEYS_FILE") : config.state_dir + "/api-keys";
  config.hydrate = std::array{HydrateChoice::kOverlap, HydrateChoice::kStrict,
                              HydrateChoice::kLazy}[reader.choice("TB_HYDRATE", {"overlap", "strict", "lazy"})];
  config.cache_on_disk = reader.choice("TB_CACHE", {"disk", "memory"}) == 0;
  config.download_connections = reader.text("TB_DOWNLOAD_CONCURRENCY") == "auto"
                                    ? 0
                                    : static_cast<unsigned>(reader.number("TB_DOWNLOAD_CONCURRENCY", 1, 32));
  config.download_request_bytes = reader.number("TB_DOWNLOAD_CHUNK_BYTES", 1024, 67108864);
  if (settings.is_given("TB_MAX_DOWNLOAD_BYTES_PER_SECOND")) {
    config.download_bytes_per_second = reader.number("TB_MAX_DOWNLOAD_BYTES_PER_SECOND", 65536, std::uint64_t{1} << 50);
  }
  if (const std::string& source = reader.text("TB_SOURCE"); !source.empty()) {
    try {
      config.source.emplace(blob::Folder::at(source));
    } catch (const Error& error) {
      reader.fault("TB_SOURCE", "must be file:/DIR: " + error.message);
    }
  }
  config.allow_swap = reader.truth("TB_ALLOW_SWAP") || config.dev;
}

/// A number, or a name of /etc/passwd: packages make users whose numbers differ from machine to machine. Read as a
/// file: the name service switch would load libraries, and a user of a directory service is not one to keep a runtime
/// in.
uid_t read_user(Reader& reader, std::string_view name) {
  const std::string& text = reader.text(name);
  if (text.find_first_not_of("0123456789") == std::string::npos) {
    return static_cast<uid_t>(reader.number(name, 0, 4294967294));
  }
  const std::unique_ptr<FILE, int (*)(FILE*)> users(fopen("/etc/passwd", "re"), &fclose);
  while (const passwd* user = users ? fgetpwent(users.get()) : nullptr) {
    if (text == user->pw_name) return user->pw_uid;
  }
  reader.fault(name, "must be a user's number, or a name of /etc/passwd");
  return 0;
}

RuntimeAddress read_runtime_url(Reader& reader, const std::string& url) {
  RuntimeAddress out;
  if (url.starts_with("unix:")) {
    out.unix_path = url.substr(5);
    if (!out.unix_path.starts_with('/') || out.unix_path.size() > 107) {
      reader.fault("TB_RUNTIME_URL", "needs an absolute path of at most 107 bytes after unix:");
    }
    return out;
  }
  std::string rest = url.starts_with("http://") ? url.substr(7) : std::string();
  while (rest.ends_with('/')) rest.pop_back();
  const auto address = http::parse_listen_address(rest);
  if (!address || !address->is_loopback || rest.starts_with(':')) {
    reader.fault("TB_RUNTIME_URL", "must be http:// with a loopback address and a port, or unix:/path");
    return out;
  }
  out.host = address->host;
  out.port = address->port;
  return out;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> out;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string item(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    while (item.size() > 1 && item.ends_with('/')) item.pop_back();
    if (!item.empty()) out.push_back(std::move(item));
  }
  return out;
}

/// Absolute, and the same by its text as by its meaning.
bool is_plain_path(const std::string& path) {
  return path.starts_with('/') && path.find("//") == std::string::npos &&
         (path + "/").find("/../") == std::string::npos && (path + "/").find("/./") == std::string::npos;
}

bool is_within(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory || path.starts_with(directory + "/");
}

/// Where a path leads to, as far as it is there.
std::string without_links(const std::string& path) {
  std::error_code failed;
  const auto real = std::filesystem::weakly_canonical(path, failed);
  return failed ? path : real.string();
}

/// What the runtime may read must not hold what it must not: the sentinel's own files.
void read_isolation(Reader& reader, const Settings& settings, Config& config) {
  const bool dev_default = config.dev && !settings.is_given("TB_RUNTIME_ISOLATION");
  const auto choice =
      std::array{IsolationChoice::kFull, IsolationChoice::kPartial,
                 IsolationChoice::kOff}[reader.choice("TB_RUNTIME_ISOLATION", {"full", "partial", "off"})];
  config.isolation = dev_default ? IsolationChoice::kPartial : choice;
  config.runtime_read_paths = split_list(reader.text("TB_RUNTIME_READ_PATHS"));
  for (const std::string& path : config.runtime_read_paths) {
    if (!is_plain_path(path))
      reader.fault("TB_RUNTIME_READ_PATHS", fmt::format("names {}, which is no plain absolute path", path));
    for (const std::string& kernel : {"/proc", "/sys", "/dev"}) {
      if (path == kernel)
        reader.fault("TB_RUNTIME_READ_PATHS", fmt::format("names {}, of which the runtime has its own", path));
    }
    for (const std::string& own : {config.state_dir, config.audit_dir, config.api_keys_file}) {
      const std::string real_own = without_links(own), real_path = without_links(path);
      if (is_within(real_own, real_path) || is_within(real_path, real_own)) {
        reader.fault("TB_RUNTIME_READ_PATHS", fmt::format("names {}, which would show the runtime {}", path, own));
      }
    }
  }
  for (const std::string_view system : {"/usr", "/bin", "/lib"}) {
    if (config.isolation != IsolationChoice::kOff && !config.runtime_command.empty() &&
        is_within(config.state_dir, std::string(system))) {
      reader.fault("TB_STATE_DIR", fmt::format("lies in {}, which a confined runtime can read", system));
    }
  }
  config.runtime_devices = split_list(reader.text("TB_RUNTIME_DEVICES"));
  for (const std::string& device : config.runtime_devices) {
    const bool is_memory = device == "/dev/mem" || device == "/dev/kmem" || device == "/dev/port";
    if (!device.starts_with("/dev/") || !is_plain_path(device) || is_memory) {
      reader.fault("TB_RUNTIME_DEVICES", fmt::format("names {}, which is no device that a runtime can have", device));
    }
  }
  config.runtime_scratch_bytes = reader.number("TB_RUNTIME_SCRATCH_BYTES", 1 << 20, std::uint64_t{1} << 44);
  if (settings.is_given("TB_RUNTIME_MEMORY_BYTES")) {
    config.runtime_memory_bytes = reader.number("TB_RUNTIME_MEMORY_BYTES", 1 << 24, std::uint64_t{1} << 50);
  }
  config.reachable_runtime_allowed = reader.truth("TB_ALLOW_REACHABLE_RUNTIME");
}

void read_runtime(Reader& reader, const Settings& settings, Config& config) {
  config.runtime_command = read_command(reader, "TB_RUNTIME_COMMAND");
  const bool any_port = config.dev && !config.runtime_command.empty() && !settings.is_given("TB_RUNTIME_URL");
  config.runtime = read_runtime_url(reader, any_port ? "http://127.0.0.1:0" : reader.text("TB_RUNTIME_URL"));
  if (!config.runtime.is_unix() && config.runtime.port == 0 && config.runtime_command.empty()) {
    reader.fault("TB_RUNTIME_URL", "may have port 0 only together with TB_RUNTIME_COMMAND");
  }
  config.runtime_health_path = reader.text("TB_RUNTIME_HEALTH_PATH");
  if (!config.runtime_health_path.starts_with('/') ||
      std::ranges::any_of(config.runtime_health_path, [](char c) { return c <= 0x20 || c >= 0x7f; })) {
    reader.fault("TB_RUNTIME_HEALTH_PATH", "must be a path");
  }
  config.startup_timeout_ms = static_cast<std::int64_t>(reader.number("TB_STARTUP_TIMEOUT", 1, 86400)) * 1000;
  const bool may_share = reader.truth("TB_ALLOW_SHARED_UID") || config.dev;
  config.shared_user_allowed = may_share;
  read_isolation(reader, settings, config);
  if (settings.is_given("TB_RUNTIME_UID")) {
    config.runtime_uid = read_user(reader, "TB_RUNTIME_UID");
    if (config.runtime_uid == geteuid() && !may_share) {
      reader.fault("TB_RUNTIME_UID", "must differ from the sentinel's own user, or set TB_ALLOW_SHARED_UID=true");
    }
  } else {
    config.runtime_uid = geteuid();
    if (!may_share) reader.fault("TB_RUNTIME_UID", "is required, or set TB_ALLOW_SHARED_UID=true");
  }
}

http::ListenAddress read_address(Reader& reader, const Settings& settings, std::string_view name, bool dev) {
  const std::string text = dev && !settings.is_given(name) ? "127.0.0.1:0" : reader.text(name);
  const auto address = http::parse_listen_address(text);
  if (!address) {
    reader.fault(name, "must be HOST:PORT with an IP address");
    return {};
  }
  if (dev && !address->is_loopback) reader.fault(name, "must be a loopback address with --dev");
  return *address;
}

/// Comma-separated, without blanks.

void read_tokens(Reader& reader, Config& config) {
  config.jwt_keys = reader.text("TB_JWT_KEYS");
  config.jwt_rules = {.issuer = reader.text("TB_JWT_ISSUER"),
                      .audience = reader.text("TB_JWT_AUDIENCE"),
                      .scope = reader.text("TB_JWT_SCOPE")};
  if (config.jwt_keys.empty()) {
    for (const char* name : {"TB_JWT_ISSUER", "TB_JWT_AUDIENCE", "TB_JWT_SCOPE"}) {
      if (!reader.text(name).empty()) reader.fault(name, "needs TB_JWT_KEYS");
    }
    return;
  }
  if (!config.jwt_keys.starts_with('/')) {
    if (const auto fault = endpoint_fault(config.jwt_keys, false); !fault.empty()) {
      reader.fault("TB_JWT_KEYS", "must be an absolute path, or a URL: " + fault);
    }
  }
  for (const char* name : {"TB_JWT_ISSUER", "TB_JWT_AUDIENCE"}) {
    if (reader.text(name).empty()) reader.fault(name, "is required with TB_JWT_KEYS");
  }
  if (config.jwt_rules.scope.find(' ') != std::string::npos) reader.fault("TB_JWT_SCOPE", "must be one scope");
}

void read_names(Reader& reader, Config& config) {
  config.served_model_name = reader.text("TB_SERVED_MODEL_NAME");
  if (config.served_model_name.empty()) config.served_model_name = config.asset_id;
  // It goes into JSON texts of the runtime's as it is.
  const bool plain = std::ranges::all_of(config.served_model_name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.' || c == ':' || c == '/';
  });
  const bool given = !reader.text("TB_SERVED_MODEL_NAME").empty();
  if (given && (!plain || config.served_model_name.size() > 128 || config.served_model_name.starts_with('/'))) {
    reader.fault("TB_SERVED_MODEL_NAME", "may hold letters, digits, - _ . : / only, 128 at most, no / in front");
  }
  config.hidden_paths = reader.list("TB_HIDDEN_PATHS");
  for (const std::string& path : config.hidden_paths) {
    if (!path.starts_with('/') || path.size() < 2) reader.fault("TB_HIDDEN_PATHS", "must hold absolute paths");
  }
}

void read_gate(Reader& reader, const Settings& settings, Config& config) {
  config.public_address = read_address(reader, settings, "TB_PUBLIC_ADDR", config.dev);
  config.health_address = read_address(reader, settings, "TB_HEALTH_ADDR", config.dev);
  config.tls_cert_path = reader.text("TB_TLS_CERT_PATH");
  config.tls_key_path = reader.text("TB_TLS_KEY_PATH");
  config.tls_client_ca_path = reader.text("TB_TLS_CLIENT_CA_PATH");
  if (config.tls_cert_path.empty() != config.tls_key_path.empty()) {
    reader.fault("TB_TLS_CERT_PATH", "and TB_TLS_KEY_PATH go together");
  }
  if (!config.tls_client_ca_path.empty() && config.tls_cert_path.empty()) {
    reader.fault("TB_TLS_CLIENT_CA_PATH", "needs TB_TLS_CERT_PATH");
  }
  config.tls_client_subjects = reader.list("TB_TLS_CLIENT_SUBJECTS");
  if (!config.tls_client_subjects.empty() && config.tls_client_ca_path.empty()) {
    reader.fault("TB_TLS_CLIENT_SUBJECTS", "needs TB_TLS_CLIENT_CA_PATH");
  }
  config.proxy_http2 = reader.truth("TB_PROXY_HTTP2");
  config.allow_anonymous = reader.truth("TB_ALLOW_ANONYMOUS");
  if (config.allow_anonymous && (!config.tls_client_subjects.empty() || !reader.text("TB_JWT_KEYS").empty())) {
    reader.fault("TB_ALLOW_ANONYMOUS", "lets everybody in: TB_JWT_KEYS and TB_TLS_CLIENT_SUBJECTS would mean nothing");
  }
  read_tokens(reader, config);
  read_names(reader, config);
  config.allowed_paths = reader.list("TB_ALLOWED_PATHS");
  for (const std::string& pattern : config.allowed_paths) {
    if (!proxy::is_known_pattern(pattern)) {
      reader.fault("TB_ALLOWED_PATHS", fmt::format("names {}, which is not in the allow-list", pattern));
    }
  }
  config.max_body_bytes = reader.number("TB_MAX_BODY_BYTES", 0, std::uint64_t{1} << 50);
  config.drain_ms = static_cast<std::int64_t>(reader.number("TB_DRAIN_SECONDS", 0, 86400)) * 1000;
  const bool accepts = !config.dev || settings.is_given("TB_DRAIN_ACCEPT_MS");
  config.drain_accept_ms = accepts ? static_cast<std::int64_t>(reader.number("TB_DRAIN_ACCEPT_MS", 0, 600'000)) : 0;
  config.audit_hash_responses = reader.truth("TB_AUDIT_HASH_RESPONSES");
  config.audit_keyed = reader.truth("TB_AUDIT_KEYED");
  config.audit_checkpoint_ms = static_cast<std::int64_t>(reader.number("TB_AUDIT_CHECKPOINT_SECONDS", 1, 86400)) * 1000;
  config.audit_segment_bytes = reader.number("TB_AUDIT_SEGMENT_BYTES", 65536, std::uint64_t{1} << 40);
  config.audit_retention_ms =
      static_cast<std::int64_t>(reader.number("TB_AUDIT_RETENTION_DAYS", 0, 36500)) * 86'400'000;
  config.exit_on_denial = reader.truth("TB_EXIT_ON_DENIAL");
  if (const auto level = obs::parse_level(reader.text("TB_LOG_LEVEL"))) {
    config.log_level = *level;
  } else {
    reader.fault("TB_LOG_LEVEL", "must be one of: debug info warn error");
  }
}

}  // namespace

std::string RuntimeAddress::to_text() const {
  if (is_unix()) return "unix:" + unix_path;
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? fmt::format("http://[{}]:{}", host, port) : fmt::format("http://{}:{}", host, port);
}

std::string host_of(std::string_view url) {
  const std::size_t start = url.find("://");
  if (start == std::string_view::npos) return {};
  std::string_view rest = url.substr(start + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (rest.starts_with('[')) return std::string(rest.substr(1, rest.find(']') - 1));
  return std::string(rest.substr(0, rest.find(':')));
}

std::string endpoint_fault(std::string_view url, bool allow_insecure) {
  const bool https = url.starts_with("https://");
  if (!https && !url.starts_with("http://")) return "must be an https URL";
  if (std::ranges::any_of(url, [](char c) { return c <= 0x20 || c >= 0x7f; })) return "must be a URL without blanks";
  if (url.find_first_of("?#@\\") != std::string_view::npos) return "must be a URL without user, query or fragment";
  const std::string host = host_of(url);
  if (host.empty()) return "must name a host";
  if (!https && !allow_insecure && !http::is_loopback_host(host)) {
    return "must be https, as the host is not loopback; TB_ALLOW_INSECURE_HTTP=true allows plain HTTP";
  }
  return {};
}

Config make_config(const Settings& settings, std::vector<std::string>& faults) {
  Config config;
  Reader reader(settings, faults);
  config.dev = !settings.dev_dir.empty();
  config.notes = settings.notes;
  if (config.dev && !settings.dev_dir.starts_with('/')) reader.fault("--dev", "needs an absolute path");
  read_identity(reader, config);
  read_delivery(reader, settings, config);
  read_runtime(reader, settings, config);
  read_gate(reader, settings, config);
  read_billing(reader, config);
  return config;
}

std::string print_config(const Settings& settings) {
  std::string out = settings.dev_dir.empty() ? "" : fmt::format("# --dev {}\n", settings.dev_dir);
  for (const Setting& setting : all_settings()) {
    const Value& value = settings.values.find(setting.name)->second;
    const std::string_view shown = setting.masked && !value.text.empty() ? "(set)" : std::string_view(value.text);
    out += fmt::format("{}={}  # {}\n", setting.name, shown, value.source);
  }
  return out;
}

}  // namespace tb::sentinel

// The table of settings, where their values come from, and what they must be.
#include "controlplane/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <set>

#include "api/asset.h"
#include "base/fs.h"
#include "http/address.h"
#include "sql/postgres.h"

namespace tb::controlplane {
namespace {

constexpr std::array<Setting, 32> kSettings = {{
    {"addr", "127.0.0.1:8080", "where to listen; plain HTTP on loopback only"},
    {"allow_unauthenticated_sentinels", "false", "allow contracts with authentication none"},
    {"client_ca_path", "", "PEM file of the authority that signs sentinels' certificates"},
    {"data_dir", "/var/lib/trustbridge", "where database, keys and stored objects lie"},
    {"database", "sqlite:", "sqlite:, sqlite:PATH or postgresql://USER@HOST/NAME"},
    {"kek", "file:", "key-encryption key: file:PATH, env:NAME or transit:https://host:8200/mount/key"},
    {"kek_accepted", "", "other KEKs whose keys are opened too, separated by commas; for rekey"},
    {"kek_ca_path", "", "PEM file of the authority of a transit: KMS"},
    {"kek_namespace", "", "namespace of a transit: KMS"},
    {"kek_token_file", "", "file (0600) with the token for a transit: KMS"},
    {"log_level", "info", "debug, info, warn or error"},
    {"marketplace_ca_path", "", "PEM file of the authority of the marketplace, if not the system's"},
    {"marketplace_credential", "",
     "identity that reports usage to a marketplace: client-secret[-file:PATH], workload-identity or managed-identity"},
    {"marketplace_endpoint", "https://marketplaceapi.microsoft.com", "the marketplace's metering API"},
    {"marketplace_tenant", "", "whose contracts may name the marketplace; required with marketplace_credential"},
    {"max_connections", "4096", "connections at a time; half of them may wait for a change of their contract"},
    {"public_url", "", "base of signed URLs, as sentinels reach this service"},
    {"rate_limit", "200", "requests a second that one credential may make on this node; 0: no limit"},
    {"rate_limit_burst", "1000", "requests that one credential may make at once, after a rest"},
    {"snp_revocations", "", "PEM file of AMD's revocation lists, kept current by the operator"},
    {"snp_roots", "", "PEM file of AMD's root certificates (ARK), for contracts with attestation snp"},
    {"stop_delay_seconds", "0", "how long to go on serving after SIGTERM, /readyz being 503; for load balancers"},
    {"store", "filesystem:", "filesystem:DIR of the embedded store, or azure:ACCOUNT/CONTAINER/PREFIX with {tenant}"},
    {"store_ca_path", "", "PEM file of the authority of an azure: store, if not the system's"},
    {"store_credential", "", "key-file:PATH, client-secret[-file:PATH], workload-identity or managed-identity"},
    {"store_endpoint", "https://{account}.blob.core.windows.net", "of an azure: store; another cloud, or an emulator"},
    {"tls_cert_path", "", "PEM file of the certificate chain"},
    {"tls_key_path", "", "PEM file of the certificate's key"},
    {"tls_require_client_cert", "false", "refuse connections without a client certificate"},
    {"token_issuers", "", "JSON file of the services whose attestation tokens count, and their keys"},
    {"url_seconds", "3600", "longest life of a signed URL, in seconds, at most 3600"},
    {"workers", "64", "requests that are worked on at a time; those that wait for the disk are committed together"},
}};

/// Settings that can be handed over by a service manager as a credential: the file's name there, the setting, and what
/// stands before the path in it.
struct Credential {
  std::string_view file, setting, scheme;
};
constexpr std::array<Credential, 8> kCredentials = {{
    {"client-ca", "client_ca_path", ""},
    {"kek", "kek", "file:"},
    {"kek-ca", "kek_ca_path", ""},
    {"kek-token", "kek_token_file", ""},
    {"store-ca", "store_ca_path", ""},
    {"store-key", "store_credential", "key-file:"},
    {"tls-cert", "tls_cert_path", ""},
    {"tls-key", "tls_key_path", ""},
}};

/// What a credential gives `setting`, where the service manager has handed one over.
std::optional<std::string> credential_for(std::string_view setting, const Environment& environment) {
  const auto it = std::ranges::find(kCredentials, setting, &Credential::setting);
  const auto directory = environment("CREDENTIALS_DIRECTORY");
  if (it == kCredentials.end() || !directory || !directory->starts_with('/')) return std::nullopt;
  const std::string path = fmt::format("{}/{}", *directory, it->file);
  if (access(path.c_str(), F_OK) != 0) return std::nullopt;
  return std::string(it->scheme) + path;
}

constexpr std::size_t kMaxConfigBytes = 65536;

std::string upper(std::string_view name) {
  std::string out(name);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

using Texts = std::map<std::string, std::string>;

void take_tenant_stores(const toml::node& node, Texts& out, std::vector<std::string>& faults) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return faults.emplace_back("stores must be a table of tenants"), void();
  for (const auto& [tenant, place] : *table) {
    const auto text = place.value_exact<std::string>();
    if (!text || !api::valid_name(tenant.str())) {
      faults.push_back(fmt::format("stores.{} must be a tenant's name and a text", std::string(tenant.str())));
    } else {
      out[std::string(tenant.str())] = *text;
    }
  }
}

/// What the TOML file says, by name; faults are added to `faults`.
Texts file_values(const std::string& path, Texts& tenant_stores, std::vector<std::string>& faults) {
  Texts out;
  if (path.empty()) return out;
  auto text = read_small_file(path, kMaxConfigBytes);
  if (!text) {
    faults.push_back(text.error().story());
    return out;
  }
  try {
    const toml::table table = toml::parse(*text, path);
    for (const auto& [key, value] : table) {
      const std::string name(key.str());
      if (name == kTenantStores) {
        take_tenant_stores(value, tenant_stores, faults);
      } else if (std::ranges::none_of(kSettings, [&](const Setting& s) { return s.name == name; })) {
        faults.push_back(fmt::format("{} has an unknown key {}", path, name));
      } else if (const auto word = value.value_exact<std::string>()) {
        out[name] = *word;
      } else if (const auto flag = value.value_exact<bool>()) {
        out[name] = *flag ? "true" : "false";
      } else if (const auto number = value.value_exact<std::int64_t>()) {
        out[name] = std::to_string(*number);
      } else {
        faults.push_back(fmt::format("{} of {} must be a string, a number or a truth value", name, path));
      }
    }
  } catch (const toml::parse_error& error) {
    faults.push_back(fmt::format("{} is not TOML: {}", path, error.description()));
  }
  return out;
}

class Values {
 public:
  Values(const std::map<std::string, std::string>& flags, const Environment& environment, const std::string& path) {
    const auto from_file = file_values(path, tenant_stores, faults);
    for (const auto& setting : kSettings) {
      const std::string name(setting.name);
      if (const auto flag = flags.find(name); flag != flags.end()) {
        taken_[name] = flag->second;
        from_flags_.insert(name);
      } else if (auto variable = environment("TB_CP_" + upper(name)); variable && !variable->empty()) {
        taken_[name] = *variable;
      } else if (const auto entry = from_file.find(name); entry != from_file.end()) {
        taken_[name] = entry->second;
      } else if (auto credential = credential_for(name, environment)) {
        taken_[name] = std::move(*credential);
      } else {
        taken_[name] = setting.fallback;
      }
    }
  }
  const std::string& of(const std::string& name) const { return taken_.at(name); }
  const std::map<std::string, std::string>& all() const { return taken_; }
  bool is_from_flag(const std::string& name) const { return from_flags_.contains(name); }

  bool truth(const std::string& name) {
    const std::string& value = of(name);
    if (value != "true" && value != "false") fault(name, "must be true or false");
    return value == "true";
  }
  std::int64_t number(const std::string& name, std::int64_t min, std::int64_t max) {
    const std::string& text = of(name);
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size() || value < min || value > max) {
      fault(name, fmt::format("must be a number from {} to {}", min, max));
      return min;
    }
    return value;
  }
  /// What follows `scheme:`, or `fallback` where nothing follows.
  std::string after(const std::string& name, std::string_view scheme, const std::string& fallback) {
    const std::string& value = of(name);
    if (!value.starts_with(scheme)) {
      fault(name, fmt::format("must begin with {}", scheme));
      return fallback;
    }
    const std::string rest = value.substr(scheme.size());
    return rest.empty() ? fallback : rest;
  }
  void fault(const std::string& name, std::string_view why) {
    faults.push_back(fmt::format("TB_CP_{} {}", upper(name), why));
  }

  std::vector<std::string> faults;
  Texts tenant_stores;

 private:
  std::map<std::string, std::string> taken_;
  std::set<std::string> from_flags_;
};

/// http:// and another host than this machine's loopback.
bool is_plain_http_elsewhere(std::string_view url) {
  const std::string_view authority = url.substr(std::min(url.size(), url.find("://") + 3));
  const std::string_view host = authority.substr(0, authority.find_first_of(authority.starts_with('[') ? "]" : ":/"));
  return url.starts_with("http://") && !http::is_loopback_host(host.starts_with('[') ? host.substr(1) : host);
}

bool is_postgres(std::string_view database) {
  return database.starts_with("postgres://") || database.starts_with("postgresql://");
}

void take_database(Values& values, Config& config) {
  if (!is_postgres(values.of("database"))) {
    if (!values.of("database").starts_with("sqlite:")) {
      return values.fault("database", "must begin with sqlite: or postgresql://");
    }
    config.database_path = values.after("database", "sqlite:", config.data_dir + "/control-plane.db");
    return;
  }
  SecretString url(values.of("database"));
  try {
    if (sql::holds_password(url) && values.is_from_flag("database")) {
      values.fault("database",
                   "must not hold a password as a flag, which others on the machine can read: "
                   "set the variable, or name a file with ?passfile=");
    }
  } catch (const Error& error) {
    values.fault("database", error.message);
  }
  config.database_url = std::move(url);
}

std::string printable_database(const std::string& url) {
  try {
    return sql::printable_postgres_url(SecretString(url));
  } catch (const Error&) {
    return "(not a URL)";
  }
}

void take_kek(Values& values, const Environment& environment, Config& config) {
  config.kek_access = {.token_file = values.of("kek_token_file"),
                       .ca_path = values.of("kek_ca_path"),
                       .kms_namespace = values.of("kek_namespace")};
  const std::string default_path = config.data_dir + "/keys/kek";
  const auto take = [&](const std::string& name, const std::string& spec) -> std::optional<KekSource> {
    auto source = parse_kek_source(spec, default_path, environment, config.kek_access);
    if (source) return std::move(*source);
    values.fault(name, source.error().message);
    return std::nullopt;
  };
  if (auto source = take("kek", values.of("kek"))) config.kek = std::move(*source);
  std::string_view rest = values.of("kek_accepted");
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    if (auto source = take("kek_accepted", std::string(one))) config.kek_accepted.push_back(std::move(*source));
  }
}

void take_store(Values& values, const Environment& environment, Config& config) {
  const std::string& store = values.of("store");
  const bool remote = store.starts_with("azure:");
  // Objects that were put into the embedded store are served from there whatever else is set.
  config.blob_dir = config.data_dir + "/blobs";
  if (!remote) config.blob_dir = values.after("store", "filesystem:", config.blob_dir);
  if (!remote && values.tenant_stores.empty()) return;
  azure::StoreSettings settings{.endpoint = values.of("store_endpoint"), .ca_path = values.of("store_ca_path")};
  const auto fault = [&](const std::string& name, const Error& error) { values.fault(name, error.message); };
  if (remote) {
    if (auto place = azure::parse_place(store, true)) {
      settings.any_tenant = std::move(*place);
    } else {
      fault("store", place.error());
    }
  }
  for (const auto& [tenant, spec] : values.tenant_stores) {
    if (auto place = azure::parse_place(spec, false)) {
      settings.of_tenant[tenant] = std::move(*place);
    } else {
      values.faults.push_back(fmt::format("stores.{} {}", tenant, place.error().message));
    }
  }
  if (auto credential = azure::parse_credential(values.of("store_credential"), environment)) {
    settings.credential = std::move(*credential);
  } else {
    fault("store_credential", credential.error());
  }
  for (const auto& text : azure::faults_of(settings)) values.faults.push_back("TB_CP_STORE: " + text);
  config.remote_store = std::move(settings);
}

void take_marketplace(Values& values, const Environment& environment, Config& config) {
  if (values.of("marketplace_credential").empty()) {
    if (!values.of("marketplace_tenant").empty()) {
      values.fault("marketplace_tenant", "needs TB_CP_MARKETPLACE_CREDENTIAL");
    }
    return;
  }
  Config::Marketplace marketplace{.endpoint = values.of("marketplace_endpoint"),
                                  .tenant = values.of("marketplace_tenant"),
                                  .credential = {},
                                  .ca_path = values.of("marketplace_ca_path")};
  while (marketplace.endpoint.ends_with('/')) marketplace.endpoint.pop_back();
  const bool is_url = marketplace.endpoint.starts_with("https://") || marketplace.endpoint.starts_with("http://");
  if (!is_url || marketplace.endpoint.find_first_of("?#@ \"\\") != std::string::npos ||
      is_plain_http_elsewhere(marketplace.endpoint)) {
    values.fault("marketplace_endpoint", "must be https://, or http:// of this machine's loopback");
  }
  if (!api::valid_name(marketplace.tenant)) {
    values.fault("marketplace_tenant", "must name the tenant whose contracts are reported");
  }
  if (auto credential = azure::parse_credential(values.of("marketplace_credential"), environment); !credential) {
    values.fault("marketplace_credential", credential.error().message);
  } else if (credential->kind == azure::Credential::Kind::kAccountKey) {
    values.fault("marketplace_credential", "must be an identity");
  } else {
    marketplace.credential = std::move(*credential);
  }
  config.marketplace = std::move(marketplace);
}

void take_tls(Values& values, Config& config) {
  http::TlsConfig tls{.cert_path = values.of("tls_cert_path"),
                      .key_path = values.of("tls_key_path"),
                      .client_ca_path = values.of("client_ca_path"),
                      .require_client_cert = values.truth("tls_require_client_cert")};
  if (tls.cert_path.empty() != tls.key_path.empty()) {
    values.fault(tls.cert_path.empty() ? "tls_cert_path" : "tls_key_path",
                 "is missing: certificate and key go together");
  }
  if (tls.cert_path.empty() && !tls.client_ca_path.empty()) {
    values.fault("client_ca_path", "needs TB_CP_TLS_CERT_PATH and TB_CP_TLS_KEY_PATH");
  }
  if (tls.require_client_cert && tls.client_ca_path.empty()) {
    values.fault("tls_require_client_cert", "needs TB_CP_CLIENT_CA_PATH");
  }
  if (!tls.cert_path.empty()) config.tls = std::move(tls);
}

void take_public_url(Values& values, Config& config) {
  std::string url = values.of("public_url");
  while (url.ends_with('/')) url.pop_back();
  if (!url.empty() && !url.starts_with("https://") && !url.starts_with("http://")) {
    values.fault("public_url", "must begin with https:// or http://");
  }
  if (url.find_first_of("?#@ \"\\") != std::string::npos)
    values.fault("public_url", "must be scheme, host, port and path only");
  if (is_plain_http_elsewhere(url)) {
    values.fault("public_url", "must be https:// unless its host is this machine's loopback");
  }
  config.public_url = url;
}

}  // namespace

std::span<const Setting> settings() {
  return kSettings;
}

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

Config load_config(const std::map<std::string, std::string>& flags, const Environment& environment,
                   const std::string& config_path) {
  Values values(flags, environment, config_path);
  Config config;
  config.data_dir = values.of("data_dir");
  if (!config.data_dir.starts_with('/')) values.fault("data_dir", "must be an absolute path");
  take_database(values, config);
  take_store(values, environment, config);
  take_kek(values, environment, config);
  take_marketplace(values, environment, config);
  take_tls(values, config);
  take_public_url(values, config);
  config.allow_unauthenticated_sentinels = values.truth("allow_unauthenticated_sentinels");
  config.attestation = {.snp_roots = values.of("snp_roots"),
                        .snp_revocations = values.of("snp_revocations"),
                        .token_issuers = values.of("token_issuers")};
  config.url_seconds = values.number("url_seconds", 1, 3600);
  config.max_connections = static_cast<std::size_t>(values.number("max_connections", 16, 100000));
  config.workers = static_cast<std::size_t>(values.number("workers", 1, 256));
  config.stop_delay_seconds = values.number("stop_delay_seconds", 0, 300);
  config.rate_limit = {.per_second = values.number("rate_limit", 0, 1000000),
                       .burst = values.number("rate_limit_burst", 1, 1000000)};
  if (auto level = obs::parse_level(values.of("log_level"))) {
    config.log_level = *level;
  } else {
    values.fault("log_level", "must be debug, info, warn or error");
  }
  if (auto address = http::check_listen_address(values.of("addr"), "TB_CP_ADDR", config.tls.has_value())) {
    config.address = *address;
  } else {
    values.faults.push_back(address.error().story());
  }
  if (!values.faults.empty()) throw Error("config_invalid", fmt::format("{}", fmt::join(values.faults, "; ")));
  return config;
}

std::string config_document() {
  std::string out =
      "# Configuration of the control plane\n\n"
      "Printed by `trustbridge-control-plane --print-config-doc` from the table in `src/controlplane/config.cc`; a "
      "test "
      "holds\nthis page against it. What the values mean together is in [operations.md](operations.md) and in\n"
      "[spec/wire.md](spec/wire.md), sections 1.4 to 1.6.\n\n"
      "Each setting is a flag, an environment variable and a key of `--config FILE` (TOML), in this order of "
      "precedence, and has\na default. All faults are reported together, with exit status 2. `--print-config` shows "
      "what is in force, secrets masked.\n\n"
      "| variable | flag | key of the file | default | meaning |\n|---|---|---|---|---|\n";
  for (const Setting& setting : kSettings) {
    std::string flag(setting.name);
    std::ranges::replace(flag, '_', '-');
    out += fmt::format("| `TB_CP_{}` | `--{}` | `{}` | {} | {} |\n", upper(setting.name), flag, setting.name,
                       setting.fallback.empty() ? std::string() : fmt::format("`{}`", setting.fallback), setting.help);
  }
  out +=
      "\nWhere a service manager hands over credentials (`LoadCredential=`, `LoadCredentialEncrypted=`), a file of "
      "this "
      "name in\n`$CREDENTIALS_DIRECTORY` is used for a setting that is given in no other way. The console's commands "
      "run "
      "outside of the\nservice and do not see it: give them the setting.\n\n| credential | setting |\n|---|---|\n";
  for (const Credential& credential : kCredentials) {
    out += fmt::format("| `{}` | `{}` |\n", credential.file, credential.setting);
  }
  out +=
      "\nThe file may have one table beside these, `[stores]`: places of single tenants, as\n"
      "`acme = \"azure:account/container/prefix\"`.\n";
  return out;
}

Json printable_config(const std::map<std::string, std::string>& flags, const Environment& environment,
                      const std::string& config_path) {
  const Values values(flags, environment, config_path);
  Json json = Json::object();
  if (!values.tenant_stores.empty()) {
    Json stores = Json::object();
    for (const auto& [tenant, place] : values.tenant_stores) stores.set(tenant, place);
    json.set(kTenantStores, std::move(stores));
  }
  // A KEK's setting names a file, a variable or a place; a database's URL may hold a password.
  for (const auto& [name, value] : values.all()) json.set(name, value);
  if (!values.of("database").starts_with("sqlite:")) json.set("database", printable_database(values.of("database")));
  if (values.of("kek").starts_with("env:")) {
    json.set("kek_value", environment(values.of("kek").substr(4)) ? "(set)" : "(not set)");
  }
  return json;
}

}  // namespace tb::controlplane

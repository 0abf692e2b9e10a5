// The control plane's configuration: one struct, filled once. For every setting: flag, then TB_CP_* environment, then
// the --config file (TOML), then a credential of the service manager, then the default. All faults are reported
// together.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "azure/tenant_stores.h"
#include "base/json.h"
#include "base/secret.h"
#include "controlplane/attestation_trust.h"
#include "controlplane/kek_source.h"
#include "controlplane/rate_limits.h"
#include "http/listen.h"
#include "http/tls.h"
#include "obs/log.h"

namespace tb::controlplane {

/// A table of the file: places of single tenants, by tenant. It has no flag and no variable.
inline constexpr std::string_view kTenantStores = "stores";

/// One row of the table of settings: `addr` is --addr, TB_CP_ADDR and `addr` in the file.
struct Setting {
  std::string_view name;
  std::string_view fallback;
  std::string_view help;
};
std::span<const Setting> settings();

struct Config {
  http::ListenAddress address;
  std::string public_url;  ///< without a final slash; empty: made of the address in use
  std::string data_dir;
  std::string database_path;                 ///< of SQLite; empty: `database_url`
  std::optional<SecretString> database_url;  ///< of PostgreSQL; may hold a password
  KekSource kek;
  std::vector<KekSource> kek_accepted;  ///< rows under these are opened, nothing new is wrapped under them
  TransitAccess kek_access;
  std::string blob_dir;
  std::optional<azure::StoreSettings> remote_store;  ///< of `azure:`, or where a tenant has a place of its own
  struct Marketplace {
    std::string endpoint;  ///< without a final slash
    std::string tenant;    ///< the publisher: whose contracts may name the marketplace
    azure::Credential credential;
    std::string ca_path;
  };
  std::optional<Marketplace> marketplace;  ///< nothing: no contract may name one
  std::optional<http::TlsConfig> tls;
  bool allow_unauthenticated_sentinels = false;
  AttestationFiles attestation;
  std::int64_t url_seconds = 3600;
  RateLimit rate_limit;
  std::size_t max_connections = 4096;
  std::size_t workers = 64;             ///< threads of handlers
  std::int64_t stop_delay_seconds = 0;  ///< from the signal to end until connections are refused
  obs::Level log_level = obs::Level::kInfo;
};

/// A variable of the environment; main passes getenv, tests pass a map.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

/// `flags`: what the command line set, by setting name. `config_path`: TOML, or "" for none. Throws "config_invalid"
/// whose message lists every fault: unknown keys of the file, values that cannot stand, combinations.
Config load_config(const std::map<std::string, std::string>& flags, const Environment& environment,
                   const std::string& config_path);

/// docs/control-plane-config.md, printed from the table.
std::string config_document();

/// Every setting as it was taken, for --print-config. Where a secret would stand: "(set)".
Json printable_config(const std::map<std::string, std::string>& flags, const Environment& environment,
                      const std::string& config_path);

}  // namespace tb::controlplane

// What the control-plane commands need to know, gathered once: flag, then TB_* environment, then the profile of
// ~/.trustbridge/config.toml, then the default. The only place of the CLI that reads the environment (the console's
// TERM and NO_COLOR apart).
//
//   default_profile = "staging"
//   [profiles.staging]
//   edc_endpoint = "https://cp.example.com"
//   token_file = "/home/me/.trustbridge/staging.token"
//   control_plane_key = "/home/me/.trustbridge/staging.pub"
//   ca_path = "/etc/ssl/private-ca.pem"
//   tenant = "acme"
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace tb::cli {

/// What was given by flags; empty means not given.
struct SettingFlags {
  std::string edc_endpoint;          ///< TB_EDC_ENDPOINT
  std::string token_file;            ///< TB_TOKEN_FILE
  std::string control_plane_key;     ///< TB_CONTROL_PLANE_KEY, a file
  std::string ca_path;               ///< TB_CA_PATH
  std::string tenant;                ///< TB_TENANT
  std::string profile;               ///< TB_PROFILE
  bool allow_insecure_http = false;  ///< TB_ALLOW_INSECURE_HTTP=true
};

struct Settings {
  std::string edc_endpoint, token_file, control_plane_key, ca_path, tenant;
  bool allow_insecure_http = false;
};

using Environment = std::function<std::optional<std::string>(const char* name)>;
std::optional<std::string> process_environment(const char* name);

/// Throws "config_invalid" (bad TOML, unknown keys, a profile that was asked for and is not there), "usage".
Settings settle(const SettingFlags& flags, const Environment& environment = process_environment);

}  // namespace tb::cli

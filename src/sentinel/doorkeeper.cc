#include "sentinel/doorkeeper.h"

namespace tb::sentinel {

Doorkeeper::Doorkeeper(const Config& config, const obs::Log& log) : config_(config) {
  if (config.allow_anonymous) return;
  if (const auto shown = make_first_api_key(config.api_keys_file, config.state_dir, unix_ms_now())) {
    log.info("made the first API key", {{"file", *shown}});
  }
  keys_.emplace(config.api_keys_file);
  if (config.jwt_keys.empty()) return;
  token_keys_.emplace(fetch_keys_from(config.jwt_keys, config.ca_path), times_for(config.jwt_keys),
                      log.named("tokens"));
}

proxy::Access Doorkeeper::access() {
  proxy::Access out{.everybody = !keys_, .keys = keys(), .certificate_subjects = config_.tls_client_subjects};
  if (token_keys_) {
    out.token_rules = config_.jwt_rules;
    out.token_keys = &*token_keys_;
  }
  return out;
}

}  // namespace tb::sentinel

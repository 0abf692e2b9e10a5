// The consumer's own API keys: who may send requests, and who may see the full status. Only hashes stand in the file, a
// JSON line for each key; a key is 256 random bits, so a plain SHA-256 hides it.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"

namespace tb::sentinel {

/// What one key may use; nothing: no limit.
struct KeyLimits {
  std::optional<std::int64_t> requests_per_minute, tokens_per_minute, concurrent_requests;
  std::optional<std::int64_t> token_budget;  ///< over the key's whole life
};

struct ApiKey {
  std::string id;      ///< short, not secret: `subject` of audit records
  std::string name;    ///< for people
  std::string sha256;  ///< of the whole key, lower hex
  bool may_infer = true;
  bool may_see_status = false;
  UnixMs created = 0;
  KeyLimits limits = {};
};

/// The keys in `path`, none if there is no such file. Throws "config_invalid" naming the line that is malformed, and
/// "file_mode_unsafe" if others can read or write the file.
std::vector<ApiKey> read_api_keys(const std::string& path);
struct NewApiKey {
  ApiKey entry;
  SecretString key;  ///< to be shown or stored once
};
/// Makes a key and adds it to the file (0600, made if absent).
NewApiKey add_api_key(const std::string& path, std::string_view name, bool may_infer, bool may_see_status, UnixMs now);
/// Throws "not_found" if no key has that id.
void revoke_api_key(const std::string& path, std::string_view id);

/// First start: where there is no key file, makes one key with all rights and writes it to `<state_dir>/first-api-key`
/// (0600). Returns that path, or nothing if keys were there.
std::optional<std::string> make_first_api_key(const std::string& path, const std::string& state_dir, UnixMs now);

/// Checks what clients show. Reads the file again when it has changed, at most once a second; a file that cannot be
/// read lets nobody in.
class ApiKeys {
 public:
  explicit ApiKeys(std::string path);
  /// The key's entry, or nothing. Compares with every entry in constant time.
  std::optional<ApiKey> check(std::string_view key);

 private:
  void refresh();

  std::string path_;
  std::mutex mutex_;
  std::vector<ApiKey> keys_;
  std::string stamp_;
  std::int64_t looked_at_boot_ms_ = -1'000'000;
};

}  // namespace tb::sentinel

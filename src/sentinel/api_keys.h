// The consumer's own API keys: who may send requests, how much, and who may see the full status. Only hashes stand in
// the file, a JSON line for each key; a key is 256 random bits, so a plain SHA-256 hides it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"

namespace tb::sentinel {

/// What one key may use; nothing: no limit.
struct KeyLimits {
  std::optional<std::int64_t> requests_per_minute, tokens_per_minute, concurrent_requests;
  std::optional<std::int64_t> token_budget;  ///< over the key's whole life
  bool operator==(const KeyLimits&) const = default;
};

/// The largest value of a limit.
inline constexpr std::int64_t kMaxLimit = 1'000'000'000'000;
/// An object with the members that are set, named as here.
Json to_json(const KeyLimits& limits);
/// Throws "field_invalid" or "unknown_field": a misspelled limit must not be none.
KeyLimits key_limits_from_json(const Json& json);

struct ApiKey {
  std::string id;      ///< short, not secret: `subject` of audit records
  std::string name;    ///< for people
  std::string sha256;  ///< of the whole key, lower hex
  bool may_infer = true;
  bool may_see_status = false;
  UnixMs created = 0;
  KeyLimits limits = {};
  std::optional<UnixMs> expires = {};  ///< from then on it is no key
};

/// One entry as it stands in the file: everything but the key.
Json to_json(const ApiKey& key);
/// The keys in `path`, none if there is no such file. Throws "config_invalid" naming the line that is malformed, and
/// "file_mode_unsafe" if others can read or write the file.
std::vector<ApiKey> read_api_keys(const std::string& path);
struct NewApiKey {
  ApiKey entry;
  SecretString key;  ///< to be shown or stored once
};
/// Makes a key with what `wanted` says (its id and hash apart) and adds it to the file (0600, made if absent).
NewApiKey add_api_key(const std::string& path, ApiKey wanted);
NewApiKey add_api_key(const std::string& path, std::string_view name, bool may_infer, bool may_see_status, UnixMs now);
/// Throws "not_found" if no key has that id.
void revoke_api_key(const std::string& path, std::string_view id);
/// Lets `change` work on one entry, and keeps what it made of limits and end unless it returns false: two commands at
/// once both take effect. Gives the entry as it is then. Throws "not_found".
ApiKey change_api_key(const std::string& path, std::string_view id, const std::function<bool(ApiKey&)>& change);

/// First start: where there is no key file, makes one key with all rights and writes it to `<state_dir>/first-api-key`
/// (0600). Returns that path, or nothing if keys were there.
std::optional<std::string> make_first_api_key(const std::string& path, const std::string& state_dir, UnixMs now);

/// Checks what clients show. The file is read at the start, and again within a second of its change by a thread of this
/// object's own; a file that cannot be read lets nobody in.
class ApiKeys {
 public:
  explicit ApiKeys(std::string path);
  ApiKeys(const ApiKeys&) = delete;
  ApiKeys& operator=(const ApiKeys&) = delete;
  /// The key's entry, or null. Compares with every entry in constant time; touches no file.
  std::shared_ptr<const ApiKey> check(std::string_view key) const;

 private:
  struct Table;
  void watch(const std::stop_token& stop);
  void look();

  std::string path_;
  std::string stamp_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Table> table_;
  std::condition_variable_any wake_;
  std::jthread watcher_;  ///< last: it uses all of the above
};

}  // namespace tb::sentinel

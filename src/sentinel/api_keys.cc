#include "sentinel/api_keys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/crypto.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/result.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxKeyBytes = 512;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;
constexpr std::int64_t kLookEveryMs = 1000;

void write_api_keys(const std::string& path, const std::vector<ApiKey>& keys) {
  std::string text;
  for (const ApiKey& key : keys) text += to_json(key).dump() + "\n";
  value_or_throw(write_file_atomically(path, text, 0600, true));
}

std::string stamp_of(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return {};
  return fmt::format("{}:{}:{}.{}:{}.{}", info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                     info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
}

/// Held while a file is read and written anew: two commands at once must not lose a key. It ends with the descriptor.
Fd locked(const std::string& path) {
  Fd lock = value_or_throw(open_file(path + ".lock", O_CREAT | O_RDWR | O_NOFOLLOW, 0600));
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) throw Error("io_error", fmt::format("cannot lock {}", path));
  }
  return lock;
}

ApiKey key_from_json(const Json& json) {
  const JsonReader reader(json, "api key");
  ApiKey key;
  key.id = value_or_throw(reader.string("id"));
  key.name = value_or_throw(reader.string("name"));
  key.sha256 = value_or_throw(reader.string("sha256"));
  key.created = value_or_throw(from_rfc3339(value_or_throw(reader.string("created"))));
  key.may_infer = false;
  for (const std::string& right : value_or_throw(reader.strings("rights"))) {
    if (right == "infer") key.may_infer = true;
    if (right == "status") key.may_see_status = true;
  }
  if (const Json* limits = json.find("limits")) key.limits = key_limits_from_json(*limits);
  if (const auto expires = value_or_throw(reader.optional_string("expires"))) {
    key.expires = value_or_throw(from_rfc3339(*expires));
  }
  const auto hash = from_hex(key.sha256);
  if (!hash || hash->size() != sizeof(Digest)) throw Error("config_invalid", "an api key's hash is not 64 hex digits");
  return key;
}

}  // namespace

Json to_json(const KeyLimits& limits) {
  Json out = Json::object();
  const auto set = [&out](const char* name, const std::optional<std::int64_t>& value) {
    if (value) out.set(name, *value);
  };
  set("requests_per_minute", limits.requests_per_minute);
  set("tokens_per_minute", limits.tokens_per_minute);
  set("concurrent_requests", limits.concurrent_requests);
  set("token_budget", limits.token_budget);
  return out;
}

KeyLimits key_limits_from_json(const Json& json) {
  if (!json.is_object()) throw Error("field_invalid", "limits are no JSON object");
  const JsonReader reader(json, "limits");
  value_or_throw(reader.only({"requests_per_minute", "tokens_per_minute", "concurrent_requests", "token_budget"}));
  const auto read = [&reader](const char* name) { return value_or_throw(reader.optional_integer(name, 1, kMaxLimit)); };
  return {.requests_per_minute = read("requests_per_minute"),
          .tokens_per_minute = read("tokens_per_minute"),
          .concurrent_requests = read("concurrent_requests"),
          .token_budget = read("token_budget")};
}

Json to_json(const ApiKey& key) {
  Json rights = Json::array();
  if (key.may_infer) rights.push("infer");
  if (key.may_see_status) rights.push("status");
  Json out = Json::object();
  out.set("id", key.id);
  out.set("name", key.name);
  out.set("sha256", key.sha256);
  out.set("rights", std::move(rights));
  out.set("created", to_rfc3339(key.created));
  if (key.limits != KeyLimits{}) out.set("limits", to_json(key.limits));
  if (key.expires) out.set("expires", to_rfc3339(*key.expires));
  return out;
}

std::vector<ApiKey> read_api_keys(const std::string& path) {
  auto content = read_secret_file(path, kMaxFileBytes);
  if (!content) {
    if (content.error().reason == "file_not_found") return {};
    throw content.error();
  }
  std::vector<ApiKey> keys;
  std::string_view rest = content->reveal();
  for (int line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.empty()) continue;
    try {
      keys.push_back(key_from_json(value_or_throw(Json::parse(text))));
    } catch (const Error& error) {
      throw Error("config_invalid", fmt::format("{}: line {} is no api key", path, line), error);
    }
  }
  return keys;
}

NewApiKey add_api_key(const std::string& path, ApiKey wanted) {
  const Fd lock = locked(path);
  std::vector<ApiKey> keys = read_api_keys(path);
  SecretString key("tbk-" + random_token(32));
  wanted.id = "key-" + to_hex(as_bytes(random_token(6))).substr(0, 8);
  wanted.sha256 = sha256_hex(key.reveal());
  keys.push_back(wanted);
  write_api_keys(path, keys);
  return {std::move(wanted), std::move(key)};
}

NewApiKey add_api_key(const std::string& path, std::string_view name, bool may_infer, bool may_see_status, UnixMs now) {
  return add_api_key(
      path,
      ApiKey{.name = std::string(name), .may_infer = may_infer, .may_see_status = may_see_status, .created = now});
}

void revoke_api_key(const std::string& path, std::string_view id) {
  const Fd lock = locked(path);
  std::vector<ApiKey> keys = read_api_keys(path);
  if (std::erase_if(keys, [&](const ApiKey& key) { return key.id == id; }) == 0) {
    throw Error("not_found", fmt::format("{} has no key {}", path, id));
  }
  write_api_keys(path, keys);
}

ApiKey change_api_key(const std::string& path, std::string_view id, const std::function<bool(ApiKey&)>& change) {
  const Fd lock = locked(path);
  std::vector<ApiKey> keys = read_api_keys(path);
  const auto found = std::ranges::find(keys, id, &ApiKey::id);
  if (found == keys.end()) throw Error("not_found", fmt::format("{} has no key {}", path, id));
  ApiKey changed = *found;
  if (!change(changed)) return *found;
  found->limits = changed.limits;
  found->expires = changed.expires;
  write_api_keys(path, keys);
  return *found;
}

std::optional<std::string> make_first_api_key(const std::string& path, const std::string& state_dir, UnixMs now) {
  struct stat info{};
  if (lstat(path.c_str(), &info) == 0) return std::nullopt;
  const NewApiKey made = add_api_key(path, "first", true, true, now);
  std::string shown = state_dir + "/first-api-key";
  value_or_throw(write_file_atomically(shown, made.key.reveal() + "\n", 0600, true));
  return shown;
}

struct ApiKeys::Table {
  using Words = std::array<std::uint64_t, sizeof(Digest) / sizeof(std::uint64_t)>;
  static Words words_of(ByteView digest) {
    Words out{};
    std::memcpy(out.data(), digest.data(), sizeof out);
    return out;
  }

  /// Looks at every entry, and at all of each, whatever is found: thousands of them cost microseconds.
  const ApiKey* find(const Digest& digest) const {
    const Words wanted = words_of(digest);
    std::size_t found = keys.size();
    for (std::size_t i = 0; i < hashes.size(); ++i) {
      std::uint64_t differs = 0;
      for (std::size_t w = 0; w < wanted.size(); ++w) differs |= hashes[i][w] ^ wanted[w];
      const std::uint64_t same = ((differs | (0 - differs)) >> 63) - 1;  // all ones, or 0
      found = (found & ~same) | (i & same);
    }
    return found == keys.size() ? nullptr : &keys[found];
  }

  std::vector<Words> hashes;  ///< hashes[i] is that of keys[i]
  std::vector<ApiKey> keys;
};

ApiKeys::ApiKeys(std::string path) : path_(std::move(path)), table_(std::make_shared<const Table>()) {
  look();
  watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

void ApiKeys::watch(const std::stop_token& stop) {
  std::mutex alone;
  std::unique_lock lock(alone);
  while (!stop.stop_requested()) {
    wake_.wait_for(lock, stop, std::chrono::milliseconds(kLookEveryMs), [] { return false; });
    if (!stop.stop_requested()) look();
  }
}

void ApiKeys::look() {
  std::string stamp = stamp_of(path_);
  if (stamp == stamp_ && !stamp.empty()) return;
  stamp_.clear();
  auto table = std::make_shared<Table>();
  try {
    table->keys = read_api_keys(path_);
    for (const ApiKey& key : table->keys) {
      table->hashes.push_back(Table::words_of(value_or_throw(from_hex(key.sha256))));
    }
    stamp_ = std::move(stamp);
  } catch (const Error&) {
    *table = {};  // nobody gets in while the file cannot be read; it is tried again in a second
  }
  const std::scoped_lock lock(mutex_);
  table_ = std::move(table);
}

std::shared_ptr<const ApiKey> ApiKeys::check(std::string_view key) const {
  if (key.empty() || key.size() > kMaxKeyBytes) return nullptr;
  const Digest shown = sha256(key);
  std::shared_ptr<const Table> table;
  {
    const std::scoped_lock lock(mutex_);
    table = table_;
  }
  const ApiKey* found = table->find(shown);
  if (found == nullptr || (found->expires && *found->expires <= unix_ms_now())) return nullptr;
  return {std::move(table), found};
}

}  // namespace tb::sentinel

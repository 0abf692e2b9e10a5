#include "sentinel/api_keys.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/crypto.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/result.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxKeyBytes = 512;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;

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
  return out;
}

ApiKey from_json(const Json& json) {
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
  if (key.sha256.size() != 64) throw Error("config_invalid", "an api key's hash is not 64 hex digits");
  return key;
}

void write_api_keys(const std::string& path, const std::vector<ApiKey>& keys) {
  std::string text;
  for (const ApiKey& key : keys) text += to_json(key).dump() + "\n";
  value_or_throw(write_file_atomically(path, text, 0600, true));
}

std::string stamp_of(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return {};
  return fmt::format("{}:{}:{}.{}", info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

}  // namespace

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
      keys.push_back(from_json(value_or_throw(Json::parse(text))));
    } catch (const Error& error) {
      throw Error("config_invalid", fmt::format("{}: line {} is no api key", path, line), error);
    }
  }
  return keys;
}

NewApiKey add_api_key(const std::string& path, std::string_view name, bool may_infer, bool may_see_status, UnixMs now) {
  std::vector<ApiKey> keys = read_api_keys(path);
  SecretString key("tbk-" + random_token(32));
  ApiKey entry{.id = "key-" + to_hex(as_bytes(random_token(6))).substr(0, 8),
               .name = std::string(name),
               .sha256 = sha256_hex(key.reveal()),
               .may_infer = may_infer,
               .may_see_status = may_see_status,
               .created = now};
  keys.push_back(entry);
  write_api_keys(path, keys);
  return {std::move(entry), std::move(key)};
}

void revoke_api_key(const std::string& path, std::string_view id) {
  std::vector<ApiKey> keys = read_api_keys(path);
  if (std::erase_if(keys, [&](const ApiKey& key) { return key.id == id; }) == 0) {
    throw Error("not_found", fmt::format("{} has no key {}", path, id));
  }
  write_api_keys(path, keys);
}

std::optional<std::string> make_first_api_key(const std::string& path, const std::string& state_dir, UnixMs now) {
  struct stat info{};
  if (lstat(path.c_str(), &info) == 0) return std::nullopt;
  const NewApiKey made = add_api_key(path, "first", true, true, now);
  std::string shown = state_dir + "/first-api-key";
  value_or_throw(write_file_atomically(shown, made.key.reveal() + "\n", 0600, true));
  return shown;
}

ApiKeys::ApiKeys(std::string path) : path_(std::move(path)) {}

void ApiKeys::refresh() {
  const std::int64_t now = boot_ms_now();
  if (now - looked_at_boot_ms_ < 1000) return;
  looked_at_boot_ms_ = now;
  std::string stamp = stamp_of(path_);
  if (stamp == stamp_ && !stamp.empty()) return;
  keys_.clear();
  stamp_.clear();
  try {
    keys_ = read_api_keys(path_);
    stamp_ = std::move(stamp);
  } catch (const Error&) {
    keys_.clear();  // nobody gets in while the file cannot be read; it is tried again in a second
  }
}

std::optional<ApiKey> ApiKeys::check(std::string_view key) {
  if (key.empty() || key.size() > kMaxKeyBytes) return std::nullopt;
  const std::string shown = sha256_hex(key);
  const std::scoped_lock lock(mutex_);
  refresh();
  std::optional<ApiKey> found;
  for (const ApiKey& entry : keys_) {
    if (equal_constant_time(entry.sha256, shown)) found = entry;
  }
  return found;
}

}  // namespace tb::sentinel

#include "oms/statement.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "asset/content.h"
#include "base/bytes.h"
#include "base/json.h"

namespace tb::oms {
namespace {

constexpr std::string_view kHash = "sha256";
constexpr std::string_view kOldPredicateType = "https://model_signing/Digests/v0.1";
constexpr std::int64_t kMaxShardBytes = std::int64_t{1} << 50;

[[noreturn]] void malformed(std::string what) {
  throw Error("oms_bundle_malformed", "the statement: " + std::move(what));
}

const Json& member(const Json& object, std::string_view name, std::string_view where) {
  const Json* found = object.find(name);
  if (found == nullptr) malformed(fmt::format("{}{} is missing", where, name));
  return *found;
}

std::string text_member(const Json& object, std::string_view name, std::string_view where) {
  const Json& value = member(object, name, where);
  if (!value.is_string()) malformed(fmt::format("{}{} is not a string", where, name));
  return value.as_string();
}

const Json::Array& array_member(const Json& object, std::string_view name, std::string_view where) {
  const Json& value = member(object, name, where);
  if (!value.is_array()) malformed(fmt::format("{}{} is not an array", where, name));
  return value.as_array();
}

Digest digest_of(const std::string& hex, std::string_view where) {
  const bool lower_hex =
      std::ranges::all_of(hex, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (hex.size() != 64 || !lower_hex) malformed(fmt::format("{} is not a SHA-256 in lower-case hex", where));
  const Bytes bytes = value_or_throw(from_hex(hex));
  Digest digest;
  std::ranges::copy(bytes, digest.begin());
  return digest;
}

/// Digits without leading zeros at the end of `text` after a colon; cut off from it.
bool cut_number(std::string_view& text, std::uint64_t& number) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view digits = text.substr(colon + 1);
  if (digits.empty() || (digits.size() > 1 && digits.front() == '0')) return false;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (fault != std::errc() || end != digits.data() + digits.size()) return false;
  text = text.substr(0, colon);
  return true;
}

/// The bytes that a shard's name gives, which must be one shard of `shard_bytes`.
std::string_view path_of_shard(std::string_view name, std::uint64_t shard_bytes) {
  std::string_view path = name;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  const bool named = cut_number(path, end) && cut_number(path, start);
  if (!named || start > end || start % shard_bytes != 0 || end - start > shard_bytes || (start == end && start != 0)) {
    malformed("a resource does not name a shard as path:start:end");
  }
  return path;
}

Resource read_resource(const Json& json, const Statement& statement) {
  if (!json.is_object()) malformed("a resource is not an object");
  Resource resource;
  resource.name = text_member(json, "name", "a resource's ");
  if (text_member(json, "algorithm", "a resource's ") != kHash)
    malformed("a resource's algorithm is not the hash_type");
  resource.digest = digest_of(text_member(json, "digest", "a resource's "), "a resource's digest");
  const std::string_view path = statement.shard_bytes == 0 ? std::string_view(resource.name)
                                                           : path_of_shard(resource.name, statement.shard_bytes);
  // "." is how signers before 1.1 named the file of a model that is one file.
  if (path != "." && !asset::is_relative_path(path)) malformed("a resource's name is not a relative path");
  return resource;
}

void read_serialization(const Json& predicate, Statement& statement) {
  const Json& json = member(predicate, "serialization", "");
  if (!json.is_object()) malformed("serialization is not an object");
  const std::string hash = text_member(json, "hash_type", "serialization.");
  if (hash == "blake2b" || hash == "blake3") {
    throw Error("oms_unsupported", fmt::format("the bundle's digests are {}: only sha256 is read", hash));
  }
  if (hash != kHash) malformed("serialization.hash_type is unknown");
  const std::string method = text_member(json, "method", "serialization.");
  if (method.starts_with("file-shard-")) {
    throw Error("oms_unsupported", "the bundle's shards are named as a later draft of OMS names them");
  }
  const Json* shard = json.find("shard_size");
  if (method == "shards") {
    if (shard == nullptr || !shard->is_integer() || shard->as_integer() < 1 || shard->as_integer() > kMaxShardBytes) {
      malformed("serialization.shard_size is not a size");
    }
    statement.shard_bytes = static_cast<std::uint64_t>(shard->as_integer());
  } else if (method != "files" || (shard != nullptr && !shard->is_null())) {
    malformed(method == "files" ? "serialization.shard_size is given for whole files"
                                : "serialization.method is unknown");
  }
  const Json& links = member(json, "allow_symlinks", "serialization.");
  if (!links.is_bool()) malformed("serialization.allow_symlinks is not a boolean");
  statement.allow_symlinks = links.as_bool();
  if (const Json* ignored = json.find("ignore_paths"); ignored != nullptr && !ignored->is_null()) {
    if (!ignored->is_array()) malformed("serialization.ignore_paths is not an array");
    for (const Json& path : ignored->as_array()) {
      const bool plain = path.is_string() && asset::is_relative_path(path.as_string()) &&
                         path.as_string().find_first_of("*?[") == std::string::npos;
      if (!plain) malformed("serialization.ignore_paths holds what is not a relative path");
      statement.ignore_paths.push_back(path.as_string());
    }
  }
}

void read_resources(const Json& predicate, Statement& statement) {
  const Json::Array& list = array_member(predicate, "resources", "");
  if (list.empty()) malformed("resources is empty");
  statement.resources.reserve(list.size());
  for (const Json& json : list) statement.resources.push_back(read_resource(json, statement));
  const auto& resources = statement.resources;
  if (statement.shard_bytes == 0) {
    const auto unordered = std::ranges::adjacent_find(resources, std::ranges::greater_equal{}, &Resource::name);
    if (unordered != resources.end()) malformed("resources are not sorted by name, each once");
  } else {
    std::vector<std::string_view> names;
    for (const Resource& resource : resources) names.push_back(resource.name);
    std::ranges::sort(names);
    if (std::ranges::adjacent_find(names) != names.end()) malformed("a resource stands there twice");
  }
  const bool one_file = std::ranges::any_of(resources, [&](const Resource& r) { return file_of(statement, r) == "."; });
  const bool others = std::ranges::any_of(resources, [&](const Resource& r) { return file_of(statement, r) != "."; });
  if (one_file && others) malformed("a resource's name is not a relative path");
}

void read_subject(const Json& json, Statement& statement) {
  const Json::Array& list = array_member(json, "subject", "");
  if (list.size() != 1 || !list.front().is_object()) malformed("subject is not one object");
  statement.subject = text_member(list.front(), "name", "subject's ");
  if (statement.subject.empty()) malformed("subject's name is empty");
  const Json& digests = member(list.front(), "digest", "subject's ");
  if (!digests.is_object()) malformed("subject's digest is not an object");
  if (digest_of(text_member(digests, kHash, "subject's digest "), "subject's digest") !=
      root_digest(statement.resources)) {
    malformed("subject's digest is not the one of the resources");
  }
}

bool lies_below(std::string_view path, std::string_view top) {
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

}  // namespace

const std::vector<std::string>& default_ignore_paths() {
  static const std::vector<std::string> paths = {".git", ".gitattributes", ".github", ".gitignore"};
  return paths;
}

Digest root_digest(const std::vector<Resource>& resources) {
  Sha256 hash;
  for (const Resource& resource : resources) hash.update(resource.digest);
  return hash.finish();
}

std::string shard_name(std::string_view path, std::uint64_t start, std::uint64_t end) {
  return fmt::format("{}:{}:{}", path, start, end);
}

std::string_view file_of(const Statement& statement, const Resource& resource) {
  const std::string_view name = resource.name;
  if (statement.shard_bytes == 0) return name;
  return name.substr(0, name.rfind(':', name.rfind(':') - 1));
}

Statement Statement::parse(std::string_view payload) {
  Result<Json> parsed = Json::parse(payload, {.bytes = kMaxBundleBytes});
  if (!parsed) throw Error("oms_bundle_malformed", "the statement is no JSON", std::move(parsed.error()));
  if (!parsed->is_object()) malformed("it is not an object");
  if (text_member(*parsed, "_type", "") != kStatementType) malformed("_type is not an in-toto statement v1");
  const std::string type = text_member(*parsed, "predicateType", "");
  if (type == kOldPredicateType) {
    throw Error("oms_unsupported", "the bundle has the predicate of signers before 0.3: sign the model again");
  }
  if (type != kPredicateType) malformed("predicateType is not the one of model signing 1.0");
  const Json& predicate = member(*parsed, "predicate", "");
  if (!predicate.is_object()) malformed("predicate is not an object");
  Statement statement;
  read_serialization(predicate, statement);
  read_resources(predicate, statement);
  read_subject(*parsed, statement);
  return statement;
}

std::string Statement::text() const {
  Json::Array list;
  list.reserve(resources.size());
  for (const Resource& resource : resources) {
    Json entry = Json::object();
    entry.set("name", resource.name);
    entry.set("digest", to_hex(resource.digest));
    entry.set("algorithm", kHash);
    list.push_back(std::move(entry));
  }
  Json serialization = Json::object();
  serialization.set("method", shard_bytes == 0 ? "files" : "shards");
  serialization.set("hash_type", kHash);
  if (shard_bytes != 0) serialization.set("shard_size", shard_bytes);
  serialization.set("allow_symlinks", allow_symlinks);
  Json::Array ignored(ignore_paths.begin(), ignore_paths.end());
  serialization.set("ignore_paths", Json(std::move(ignored)));
  Json digests = Json::object();
  digests.set(kHash, to_hex(root_digest(resources)));
  Json about = Json::object();
  about.set("name", subject);
  about.set("digest", std::move(digests));
  Json predicate = Json::object();
  predicate.set("resources", Json(std::move(list)));
  predicate.set("serialization", std::move(serialization));
  Json statement = Json::object();
  statement.set("_type", kStatementType);
  statement.set("subject", Json::array().push(std::move(about)));
  statement.set("predicateType", kPredicateType);
  statement.set("predicate", std::move(predicate));
  return statement.dump();
}

bool Statement::ignores(std::string_view path) const {
  const auto covers = [path](const std::string& top) { return lies_below(path, top); };
  return std::ranges::any_of(default_ignore_paths(), covers) || std::ranges::any_of(ignore_paths, covers);
}

}  // namespace tb::oms

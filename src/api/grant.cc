#include "api/grant.h"

#include <algorithm>

namespace tb::api {
namespace {

constexpr std::int64_t kMaxSeconds = std::int64_t{10} * 365 * 86400;
constexpr std::size_t kMaxGrantBytes = std::size_t{512} * 1024;

template <typename T>
T field(Result<T>&& result) {
  if (!result) throw Error("grant_refused", result.error().message);
  return std::move(*result);
}

}  // namespace

Json LeaseGrant::to_json() const {
  Json origins = Json::array();
  for (const auto& origin : url_origins) origins.push(origin);
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("asset_id", asset_id);
  json.set("lease_id", lease_id);
  json.set("policy", policy.to_json());
  json.set("policy_version", policy_version);
  json.set("manifest_sha256", manifest_sha256);
  json.set("url_origins", std::move(origins));
  json.set("key_thumbprint", key_thumbprint);
  json.set("nonce", nonce);
  json.set("proof_jti", proof_jti);
  json.set("issued_at", to_rfc3339(issued_at, true));
  json.set("expires_at", to_rfc3339(expires_at, true));
  json.set("offline_grace_seconds", offline_grace_seconds);
  return json;
}

LeaseGrant LeaseGrant::parse(std::string_view text) {
  const Json json = field(Json::parse(text, {.bytes = kMaxGrantBytes, .depth = 16}));
  if (!json.is_object()) throw Error("grant_refused", "the grant is no object");
  const JsonReader reader(json, "grant");
  const auto word = [&](std::string_view name) { return field(reader.string(name)); };
  const auto time = [&](std::string_view name) { return field(from_rfc3339(word(name))); };
  LeaseGrant out;
  out.contract_id = word("contract_id");
  out.asset_id = word("asset_id");
  out.lease_id = word("lease_id");
  const Json* policy = json.find("policy");
  if (policy == nullptr) throw Error("grant_refused", "the grant lacks policy");
  try {
    out.policy = ReleasePolicy::from_json(*policy);
  } catch (const Error& error) {
    throw Error("grant_refused", error.message);
  }
  out.policy_version = field(reader.integer("policy_version", 0, std::int64_t{1} << 52));
  out.manifest_sha256 = word("manifest_sha256");
  if (json.find("url_origins") == nullptr) throw Error("grant_refused", "the grant lacks url_origins");
  out.url_origins = field(reader.strings("url_origins"));
  out.key_thumbprint = word("key_thumbprint");
  out.nonce = word("nonce");
  out.proof_jti = word("proof_jti");
  out.issued_at = time("issued_at");
  out.expires_at = time("expires_at");
  out.offline_grace_seconds = field(reader.integer("offline_grace_seconds", 0, kMaxSeconds));
  return out;
}

std::string origin_of(std::string_view url) {
  std::string lower(url.substr(0, url.find_first_of("?#")));
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  const bool https = lower.starts_with("https://");
  if (!https && !lower.starts_with("http://")) return "";
  const std::size_t begin = https ? 8 : 7;
  std::string origin = lower.substr(0, lower.find('/', begin));
  // What clients read in two ways (userinfo, a backslash, escapes) is no origin.
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view("-._:[]").contains(c);
  };
  if (origin.size() == begin || !std::all_of(origin.begin() + static_cast<std::ptrdiff_t>(begin), origin.end(), plain))
    return "";
  const std::string_view own_port = https ? ":443" : ":80";
  if (origin.ends_with(own_port)) origin.resize(origin.size() - own_port.size());
  return origin;
}

}  // namespace tb::api

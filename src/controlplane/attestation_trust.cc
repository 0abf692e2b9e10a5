// A file that is broken refuses the start: a trust that is smaller than the operator thinks shows as denials much
// later.
#include "controlplane/attestation_trust.h"

#include "base/fs.h"
#include "http/client.h"
#include "jose/rs256.h"

namespace tb::controlplane {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{4} << 20;
constexpr std::size_t kMaxIssuers = 64;

[[noreturn]] void invalid(const std::string& path, const std::string& why) {
  throw Error("config_invalid", path + ": " + why);
}

std::string text_of(const std::string& path) {
  auto text = read_small_file(path, kMaxFileBytes);
  if (!text) throw Error("config_invalid", text.error().story());
  return std::move(*text);
}

std::shared_ptr<attest::IssuerKeys> keys_of(const Json& entry, const std::string& path, const FetchText& fetch) {
  const JsonReader reader(entry, "token issuer");
  const auto file = value_or_throw(reader.optional_string("keys_file"));
  const auto url = value_or_throw(reader.optional_string("keys_url"));
  if (file.has_value() == url.has_value()) invalid(path, "each issuer has one of keys_file and keys_url");
  if (file) return std::make_shared<attest::IssuerKeys>(jose::RsaKeySet::parse(text_of(*file)));
  if (!url->starts_with("https://")) invalid(path, "keys_url must begin with https://");
  return std::make_shared<attest::IssuerKeys>([fetch, url = *url] { return fetch(url); });
}

void load_issuers(attest::TokenTrust& trust, const std::string& path, const FetchText& fetch) {
  const auto json = Json::parse(text_of(path));
  if (!json || !json->is_array() || json->as_array().empty() || json->as_array().size() > kMaxIssuers) {
    invalid(path, "must be a JSON list of issuers");
  }
  for (const Json& entry : json->as_array()) {
    if (!entry.is_object()) invalid(path, "must list objects");
    try {
      const JsonReader reader(entry, "token issuer");
      value_or_throw(reader.only({"issuer", "keys_file", "keys_url"}));
      const std::string issuer = value_or_throw(reader.string("issuer"));
      if (!issuer.starts_with("https://")) invalid(path, "issuer must begin with https://");
      if (!trust.issuers.emplace(issuer, keys_of(entry, path, fetch)).second) invalid(path, "names an issuer twice");
    } catch (const Error& error) {
      if (error.reason == "config_invalid") throw;
      invalid(path, error.message);
    }
  }
}

}  // namespace

FetchText fetch_over_https() {
  const auto client =
      std::make_shared<http::Client>(http::ClientConfig{.connect_timeout_ms = 5'000, .stall_timeout_ms = 5'000});
  return [client](const std::string& url) {
    auto answer = client->send({.url = SecretUrl(url), .max_answer_bytes = jose::kMaxKeySetBytes});
    if (answer.status != 200) {
      throw Error("network_unreachable", "the issuer's keys were answered with " + std::to_string(answer.status));
    }
    return std::move(answer.body);
  };
}

attest::Trust load_attestation_trust(const AttestationFiles& files, const FetchText& fetch) {
  attest::Trust trust;
  if (!files.snp_roots.empty()) {
    auto roots = attest::Certificate::all_from_pem(text_of(files.snp_roots));
    if (!roots) invalid(files.snp_roots, roots.error().message);
    trust.snp.roots = std::move(*roots);
  }
  if (!files.snp_revocations.empty()) {
    auto lists = attest::RevocationList::all_from_pem(text_of(files.snp_revocations));
    if (!lists) invalid(files.snp_revocations, lists.error().message);
    trust.snp.revocations = std::move(*lists);
  }
  if (!files.token_issuers.empty()) load_issuers(trust.token, files.token_issuers, fetch);
  return trust;
}

}  // namespace tb::controlplane

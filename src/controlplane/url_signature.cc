// Making and checking the query of a signed URL.
#include "controlplane/url_signature.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/crypto.h"

namespace tb::controlplane {
namespace {

constexpr std::size_t kMaxQueryBytes = 512;

Digest signature_of(const Secret<32>& key, std::string_view kid, const BlobClaim& claim) {
  std::string text = "tb-blob-v1\n";
  const std::string expiry = std::to_string(claim.expires_at_seconds);
  for (const std::string_view part :
       {kid, std::string_view(claim.tenant), std::string_view(claim.asset_id), std::string_view(claim.name),
        std::string_view(claim.object_digest), std::string_view(claim.lease_id), std::string_view(expiry)}) {
    text += part;
    text += '\n';
  }
  return hmac_sha256(key.reveal(), as_bytes(text));
}

bool plain(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

/// The value of `name` at the start of `rest`, which it moves past; nothing if something else stands there.
std::optional<std::string_view> take(std::string_view& rest, std::string_view name, bool last) {
  if (!rest.starts_with(name)) return std::nullopt;
  rest.remove_prefix(name.size());
  const std::size_t end = rest.find('&');
  if ((end == std::string_view::npos) != last) return std::nullopt;
  const std::string_view value = rest.substr(0, end);
  rest.remove_prefix(last ? rest.size() : end + 1);
  if (!plain(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> seconds_of(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || value <= 0) return std::nullopt;
  if (std::to_string(value) != text) return std::nullopt;
  return value;
}

}  // namespace

std::string signed_path(const Secret<32>& key, std::string_view kid, const BlobClaim& claim) {
  std::string out = "/blobs/" + claim.tenant + "/" + claim.asset_id + "/" + claim.name;
  out += "?kid=" + std::string(kid) + "&lease=" + claim.lease_id + "&exp=" + std::to_string(claim.expires_at_seconds);
  return out + "&sig=" + to_base64url(signature_of(key, kid, claim));
}

std::optional<SignedQuery> parse_signed_query(std::string_view raw_query) {
  if (raw_query.size() > kMaxQueryBytes) return std::nullopt;
  const auto kid = take(raw_query, "kid=", false);
  if (!kid) return std::nullopt;
  const auto lease = take(raw_query, "lease=", false);
  if (!lease) return std::nullopt;
  const auto expiry = take(raw_query, "exp=", false);
  if (!expiry) return std::nullopt;
  const auto signature = take(raw_query, "sig=", true);
  if (!signature || !from_base64url(*signature) || signature->size() != 43) return std::nullopt;
  const auto seconds = seconds_of(*expiry);
  if (!seconds) return std::nullopt;
  return SignedQuery{.kid = std::string(*kid),
                     .lease_id = std::string(*lease),
                     .expires_at_seconds = *seconds,
                     .signature = std::string(*signature)};
}

bool signature_fits(const Secret<32>& key, std::string_view kid, const BlobClaim& claim, const SignedQuery& query) {
  const bool same_kid = equal_constant_time(query.kid, kid);
  const bool same_signature = equal_constant_time(query.signature, to_base64url(signature_of(key, kid, claim)));
  return same_kid && same_signature && query.lease_id == claim.lease_id &&
         query.expires_at_seconds == claim.expires_at_seconds;
}

}  // namespace tb::controlplane

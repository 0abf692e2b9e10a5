// The rules of tbenc-v1 section 5: which proofs a manifest has to pass, and what holds where one is missing.
#include <fmt/format.h>

#include "asset/manifest.h"

namespace tb::asset {
namespace {

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

Result<Authenticity> authenticate(const Manifest& manifest, const Expectation& expected) {
  Authenticity proof;
  if (expected.asset_id && *expected.asset_id != manifest.asset_id()) {
    return fail("asset_mismatch",
                fmt::format("the manifest is of asset '{}', not of '{}'", manifest.asset_id(), *expected.asset_id));
  }
  if (expected.manifest_sha256) {
    if (!equal_constant_time(manifest.sha256(), lower(*expected.manifest_sha256))) {
      return fail("manifest_digest_mismatch", "the manifest is not the registered one");
    }
    proof.digest = true;
  }
  if (expected.metadata) {
    if (*expected.metadata != manifest.metadata()) {
      return fail("metadata_mismatch", "the manifest disagrees with the registered metadata");
    }
    proof.metadata = true;
  }
  if (expected.provider_key) {
    TRY(manifest.verify_signature(*expected.provider_key));
    proof.signature = true;
  }
  if (expected.key != nullptr && manifest.has_mac()) {
    TRY(manifest.verify_mac(*expected.key));
    proof.mac = true;
  }
  if (!proof.authenticated() && !expected.allow_unauthenticated) {
    return fail("manifest_unauthenticated", manifest.has_mac() ? "nothing here can check the manifest's mac"
                                                               : "the manifest has no mac and nothing else proves it");
  }
  return proof;
}

}  // namespace tb::asset

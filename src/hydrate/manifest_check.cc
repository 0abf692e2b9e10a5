#include "hydrate/manifest_check.h"

#include "blob/http_source.h"
#include "hydrate/retry.h"

namespace tb::hydrate {

std::string AuthenticatedManifest::proofs() const {
  std::string text;
  const auto add = [&text](bool held, std::string_view name) {
    if (!held) return;
    if (!text.empty()) text += '+';
    text += name;
  };
  add(how.mac, "mac");
  add(how.signature, "signature");
  add(how.digest, "manifest_sha256");
  add(how.metadata, "metadata");
  return text.empty() ? "none" : text;
}

Result<AuthenticatedManifest> authenticate_manifest(std::string_view text, const asset::Expectation& expected) {
  if (expected.key == nullptr) return fail("internal", "a manifest is checked without a file key");
  auto manifest = TRY(asset::Manifest::parse(text));
  const auto how = TRY(asset::authenticate(manifest, expected));
  return AuthenticatedManifest{std::move(manifest), how};
}

std::string fetch_manifest(http::Client& client, blob::UrlProvider& urls, const async::BackoffPolicy& backoff,
                           std::stop_token stop) {
  Retry retry(backoff, stop);
  for (;;) {
    try {
      return blob::fetch_document(client, urls, asset::kMaxManifestBytes, stop);
    } catch (const blob::FetchError& error) {
      retry.wait_or_rethrow(error, error.retry_after_ms);
    } catch (const Error& error) {
      retry.wait_or_rethrow(error, std::nullopt);
    }
  }
}

}  // namespace tb::hydrate

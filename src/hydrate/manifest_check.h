// From manifest text that came through hostile storage to a manifest that may be used (spec: tbenc-v1 5). The rules
// themselves are asset::authenticate(); this brings the text, bounded and retried, and keeps the answer with the
// manifest.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>

#include "asset/manifest.h"
#include "async/backoff.h"
#include "base/result.h"
#include "blob/url.h"
#include "http/client.h"

namespace tb::hydrate {

struct AuthenticatedManifest {
  asset::Manifest manifest;
  asset::Authenticity how;

  /// The proofs that held, strongest first: "mac", "manifest_sha256", "metadata", "signature", joined by "+"; "none".
  std::string proofs() const;
};

/// Pure. `expected.key` must be set: a sentinel always holds the key. Errors: those of asset::Manifest::parse and of
/// asset::authenticate.
Result<AuthenticatedManifest> authenticate_manifest(std::string_view text, const asset::Expectation& expected);

/// The manifest's text, at most asset::kMaxManifestBytes; 429, 5xx and network faults are tried again as `backoff`
/// says, an expired URL is renewed. Throws Error: as BlobSource::fetch, "answer_too_large", "cancelled".
std::string fetch_manifest(http::Client& client, blob::UrlProvider& urls, const async::BackoffPolicy& backoff,
                           std::stop_token stop);

}  // namespace tb::hydrate

// For benchmarks only: an asset sealed into a file that an nginx serves from the same folder, with manifest and key
// beside it for the command line.
#pragma once

#include <memory>
#include <string>

#include "asset/manifest.h"
#include "base/secret.h"
#include "bench/cost.h"
#include "blob/http_source.h"
#include "blob/nginx.h"
#include "http/client.h"
#include "hydrate/manifest_check.h"

namespace tb::bench {

inline constexpr std::uint32_t kChunkBytes = std::uint32_t{4} << 20;
inline constexpr std::uint64_t kRequestBytes = std::uint64_t{8} << 20;  // TB_DOWNLOAD_CHUNK_BYTES' default

/// One connection pool and one blob, new for every run, as a sentinel that has just been authorized has them.
struct Download {
  explicit Download(const std::string& url)
      : client({.use_proxy_environment = false}), source(client, std::make_shared<blob::UrlProvider>(SecretUrl(url))) {}
  http::Client client;
  blob::HttpSource source;
};

class ServedAsset {
 public:
  /// Seals `plaintext_bytes` of zeros: what is encrypted makes no difference to AES.
  /// `server_lines`: more of nginx's directives.
  ServedAsset(const std::string& directory, std::uint64_t plaintext_bytes, const std::string& server_lines = {});

  const asset::Manifest& manifest() const { return *manifest_; }
  hydrate::AuthenticatedManifest authenticated() const { return {*manifest_, {.mac = true}}; }
  tbenc::Layout layout() const { return manifest_->layout(); }
  FileKey key() const { return key_.clone(); }
  std::string url() const { return nginx_.url("model.tbenc"); }
  std::string ciphertext_path() const { return nginx_.root() + "/model.tbenc"; }
  std::string manifest_path() const { return directory_ + "/manifest.json"; }
  std::string key_path() const { return directory_ + "/key"; }

  /// The cost of `work`, with that of nginx's workers.
  Cost cost_of(const std::function<void()>& work) const;

 private:
  void find_workers();
  double server_cpu_seconds() const;

  std::string directory_;
  blob::Nginx nginx_;
  std::vector<std::string> workers_;
  FileKey key_;
  std::optional<asset::Manifest> manifest_;
};

}  // namespace tb::bench

// A blob behind any HTTP server that answers byte ranges: nginx, Azure Blob, our own control plane.
//
// Every answer must be exact: 206, Content-Range equal to what was asked, the total and ETag of the first answer, not a
// byte more or less. There is no request of its own to learn size and version: the first range tells both, and every
// later request carries If-Match. A server that answers 200 to a range is refused: it would send the whole blob.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "blob/source.h"
#include "blob/url.h"
#include "http/client.h"

namespace tb::blob {

class HttpSource final : public BlobSource {
 public:
  /// `client` outlives the source and decides which addresses may be reached and how long a stall lasts.
  HttpSource(http::Client& client, std::shared_ptr<UrlProvider> urls);
  BlobStat stat() override;
  void fetch(std::uint64_t offset, std::uint64_t bytes, const ByteSink& sink, std::stop_token stop = {}) override;
  std::string printable() const override;

 private:
  void attempt(const UrlProvider::Current& where, std::uint64_t offset, std::uint64_t bytes, const ByteSink& sink,
               const std::stop_token& stop);
  void check_head(const http::ClientResponse& head, std::uint64_t offset, std::uint64_t bytes);
  void pin(std::uint64_t total, const std::string& etag);

  http::Client& client_;
  std::shared_ptr<UrlProvider> urls_;
  mutable std::mutex mutex_;
  std::optional<BlobStat> first_;
};

/// The whole of a small document (a manifest) at a URL, 200 only, with the same renewal of an expired URL. Throws as
/// BlobSource::fetch, and "answer_too_large" above `max_bytes`.
std::string fetch_document(http::Client& client, UrlProvider& urls, std::uint64_t max_bytes, std::stop_token stop = {});

}  // namespace tb::blob

#include "blob/http_source.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "http/range.h"

namespace tb::blob {
namespace {

bool is_weak(const std::string& etag) {
  return etag.starts_with("W/");
}

/// What a status other than the wanted one means.
FetchError refused(const http::ClientResponse& head, const std::string& what) {
  const int status = head.status;
  const std::string told = fmt::format("{} answered {}", what, status);
  if (status == 401 || status == 403) return FetchError(Error("url_expired", told));
  if (status == 404 || status == 410) return FetchError(Error("blob_not_found", told));
  if (status == 412) return FetchError(Error("blob_changed", told + ": the blob changed while it was read"));
  if (status == 416) return FetchError(Error("range_outside_blob", told + ": the blob is shorter than it should be"));
  if (http::is_retryable_status(status) || status == 408) {
    return FetchError(Error("blob_unavailable", told),
                      http::retry_after_ms(head.headers.get("Retry-After"), unix_ms_now()));
  }
  if (status >= 300 && status < 400) return FetchError(Error("blob_refused", told + ": redirects are not followed"));
  if (status == 200) return FetchError(Error("blob_range_refused", told + " to a range: it would send everything"));
  return FetchError(Error("blob_refused", told));
}

http::ClientRequest request_for(const SecretUrl& url, std::uint64_t max_bytes, const std::stop_token& stop) {
  http::ClientRequest request;
  request.url = url.clone();
  request.headers.set("Accept-Encoding", "identity");
  request.max_answer_bytes = max_bytes;
  request.stop = stop;
  return request;
}

/// Runs `attempt` with the current URL, and again as long as renewing it after "url_expired" gives another one.
template <typename Attempt>
auto with_renewal(UrlProvider& urls, const Attempt& attempt) {
  for (;;) {
    const UrlProvider::Current where = urls.for_request();
    try {
      return attempt(where);
    } catch (const FetchError& error) {
      if (error.reason != "url_expired" || !urls.renew(where.generation)) throw;
    }
  }
}

}  // namespace

HttpSource::HttpSource(http::Client& client, std::shared_ptr<UrlProvider> urls)
    : client_(client), urls_(std::move(urls)) {}

std::string HttpSource::printable() const {
  return urls_->current().url.printable();
}

BlobStat HttpSource::stat() {
  {
    const std::lock_guard lock(mutex_);
    if (first_) return *first_;
  }
  fetch(0, 1, [](ByteView) {});
  const std::lock_guard lock(mutex_);
  return first_.value();
}

void HttpSource::fetch(std::uint64_t offset, std::uint64_t bytes, const ByteSink& sink, std::stop_token stop) {
  with_renewal(*urls_, [&](const UrlProvider::Current& where) { attempt(where, offset, bytes, sink, stop); });
}

void HttpSource::attempt(const UrlProvider::Current& where, std::uint64_t offset, std::uint64_t bytes,
                         const ByteSink& sink, const std::stop_token& stop) {
  if (bytes == 0 || offset + bytes - 1 < offset) {
    throw FetchError(Error("range_outside_blob", fmt::format("{} bytes from {} are no range", bytes, offset)));
  }
  http::ClientRequest request = request_for(where.url, bytes, stop);
  request.headers.set("Range", http::range_header({offset, offset + bytes - 1}));
  {
    const std::lock_guard lock(mutex_);
    // A weak ETag never matches If-Match (RFC 9110 section 13.1.1); it is compared in check_head() all the same.
    if (first_ && !first_->etag.empty() && !is_weak(first_->etag)) request.headers.set("If-Match", first_->etag);
  }
  std::uint64_t got = 0;
  const auto on_head = [&](const http::ClientResponse& head) {
    check_head(head, offset, bytes);
    urls_->served(where.generation);
    return true;
  };
  const auto on_piece = [&](ByteView piece) {
    if (piece.size() > bytes - got)
      throw FetchError(Error("blob_range_refused", "more bytes came than were asked for"));
    got += piece.size();
    sink(piece);
    return true;
  };
  try {
    client_.fetch(request, on_head, on_piece);
  } catch (const FetchError&) {
    throw;
  } catch (const Error& error) {
    if (error.reason == "answer_too_large") {
      throw FetchError(
          Error("blob_range_refused", where.url.printable() + " sent more bytes than were asked for", error));
    }
    throw;
  }
  if (got != bytes) {
    throw FetchError(Error("blob_cut_short", fmt::format("{} sent {} of {} bytes", where.url.printable(), got, bytes)));
  }
}

void HttpSource::check_head(const http::ClientResponse& head, std::uint64_t offset, std::uint64_t bytes) {
  const std::string what = printable();
  if (head.status != 206) throw refused(head, what);
  const std::string_view encoding = head.headers.get("Content-Encoding");
  if (!encoding.empty() && !http::equal_ignoring_case(encoding, "identity")) {
    throw FetchError(Error("blob_range_refused", what + " encoded the range"));
  }
  constexpr std::string_view kMultipart = "multipart/";
  if (http::equal_ignoring_case(head.headers.get("Content-Type").substr(0, kMultipart.size()), kMultipart)) {
    throw FetchError(Error("blob_range_refused", what + " sent a multipart body instead of the range alone"));
  }
  auto range = http::parse_content_range(head.headers.get("Content-Range"));
  if (!range || head.headers.count("Content-Range") != 1 || !range->range || !range->total) {
    throw FetchError(Error("blob_range_refused", what + " answered 206 without an exact Content-Range"));
  }
  pin(*range->total, std::string(head.headers.get("ETag")));
  if (*range->range != http::ByteRange{offset, offset + bytes - 1}) {
    if (offset + bytes > *range->total) {
      throw FetchError(Error("range_outside_blob", fmt::format("{} has {} bytes, {} were expected at least", what,
                                                               *range->total, offset + bytes)));
    }
    throw FetchError(Error("blob_range_refused", what + " sent another range than was asked for"));
  }
}

void HttpSource::pin(std::uint64_t total, const std::string& etag) {
  const std::lock_guard lock(mutex_);
  if (!first_) first_ = BlobStat{total, etag};
  if (first_->bytes != total || first_->etag != etag) {
    throw FetchError(Error("blob_changed", fmt::format("{}: its {} is not that of the first answer", printable(),
                                                       first_->bytes != total ? "size" : "version")));
  }
}

std::string fetch_document(http::Client& client, UrlProvider& urls, std::uint64_t max_bytes, std::stop_token stop) {
  return with_renewal(urls, [&](const UrlProvider::Current& where) {
    http::ClientResponse answer = client.send(request_for(where.url, max_bytes, stop));
    if (answer.status != 200) throw refused(answer, where.url.printable());
    urls.served(where.generation);
    return std::move(answer.body);
  });
}

}  // namespace tb::blob

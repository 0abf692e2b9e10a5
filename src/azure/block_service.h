// The verbs of the blob service that an upload needs, for one container: signed, repeated where that is harmless,
// answers as values. All requests share one pause, so that a store that is busy is left alone by every connection at
// once.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "async/backoff.h"
#include "azure/block_answers.h"
#include "azure/block_plan.h"
#include "azure/store_access.h"
#include "base/crypto.h"
#include "http/client.h"

namespace tb::azure {

/// A blob that is there.
struct BlobState {
  std::uint64_t bytes = 0;
  std::string etag;
  std::string sha256;  ///< as our own uploads note it in the metadata; "" if nobody did
};

/// On what a write depends: nothing may be there, or just this.
struct Precondition {
  std::string etag;  ///< "" = nothing may be there
};

struct ServiceOptions {
  async::BackoffPolicy backoff{.first_ms = 1000, .max_ms = 60'000, .attempts = 8};
  std::int64_t stall_timeout_ms = 60'000;
  std::stop_token stop;
  /// Told before each wait: why, and how long.
  std::function<void(const Error& why, std::int64_t wait_ms)> on_wait;
};

class BlockService {
 public:
  /// What is sent as a block; `read` may be called again from the start.
  using Body = std::function<http::ClientBody()>;
  struct BlockSums {
    std::uint64_t crc64 = 0;
    /// For a service that does not know CRC64; reads the bytes, and throws "source_changed" if they are no more those
    /// of `crc64`.
    std::function<std::array<std::uint8_t, 16>()> md5;
  };

  /// `access` outlives the object.
  BlockService(StoreAccess& access, std::string container, ServiceOptions options);
  ~BlockService();

  const std::stop_token& stop() const { return options_.stop; }
  /// Of a blob of the container, without query.
  std::string url(const std::string& blob) const;

  /// True if it was made, false if it was there.
  bool create_container();
  /// Nothing if the blob is not there. Throws "container_not_found".
  std::optional<BlobState> state(const std::string& blob);
  std::vector<HeldBlock> uncommitted(const std::string& blob);
  /// `stop` stands in for the service's own, which it should follow.
  void put_block(const std::string& blob, const std::string& id, std::uint64_t bytes, const BlockSums& sums,
                 const Body& body, const std::stop_token& stop);

  /// What became of a write whose effect must not be repeated blindly.
  struct Written {
    enum class How { kDone, kPreconditionFailed, kBlocksLost, kUnknown };
    How how = How::kUnknown;
    std::string etag;            ///< of kDone
    std::optional<Error> fault;  ///< of the others
  };
  /// One attempt. `sha256`: hex, of the whole content; `content_type` as the blob will have it.
  Written put_block_list(const std::string& blob, std::span<const std::string> ids, const std::string& sha256,
                         const Precondition& precondition);
  Written put_blob(const std::string& blob, const std::string& content, const std::string& content_type,
                   const Precondition& precondition);

  /// The content in order, of just this version. Throws "blob_changed".
  void read(const std::string& blob, const std::string& etag, const std::function<void(ByteView)>& sink);
  /// Waits as after an attempt that failed; throws `why` after the last, and "cancelled".
  void pause(int attempt, const Error& why) { pause(attempt, why, std::nullopt, options_.stop); }

 private:
  void pause(int attempt, const Error& why, std::optional<std::int64_t> retry_after_ms, const std::stop_token& stop);
  http::ClientResponse once(const ServiceRequest& described, const Body& body, std::uint64_t max_answer_bytes,
                            const std::stop_token& stop);
  http::ClientResponse repeated(const ServiceRequest& described, const Body& body, std::uint64_t max_answer_bytes) {
    return repeated(described, body, max_answer_bytes, options_.stop);
  }
  http::ClientResponse repeated(const ServiceRequest& described, const Body& body, std::uint64_t max_answer_bytes,
                                const std::stop_token& stop);
  Written write(ServiceRequest described, const std::string& body, const std::string& sha256,
                const Precondition& precondition);
  void wait_for_pause(const std::stop_token& stop) const;
  ServiceRequest request(const std::string& method, const std::string& blob) const;

  StoreAccess& access_;
  std::string container_;
  ServiceOptions options_;
  std::unique_ptr<http::Client> client_;
  std::atomic<std::int64_t> not_before_{0};  ///< boot clock: what the store asked all of us to wait for
  std::atomic<bool> knows_crc64_{true};
};

}  // namespace tb::azure

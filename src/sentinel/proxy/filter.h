// What looks at a request on its way: a short list of filters, made in main, each with one visit per request.
//
// Order of calls for one request: on_request (may refuse, then nothing goes upstream), on_request_chunk and
// on_response_chunk in any order, on_response before the first response chunk, on_end always and last. All on the
// proxy's loop: nothing here may block.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "sentinel/audit.h"
#include "sentinel/proxy/head.h"
#include "sentinel/proxy/rules.h"

namespace tb::sentinel::proxy {

/// One request and its answer, as far as they have come.
struct Exchange {
  std::string request_id;
  Peer peer;
  RequestHead request;  ///< empty where the head itself was refused
  std::string subject;  ///< id of the API key
  int status = 0;       ///< sent to the client; 0 if it left before
  Outcome outcome = Outcome::kAborted;
  std::int64_t started_boot_ms = 0;
  std::uint64_t request_bytes = 0, response_bytes = 0;  ///< of the bodies
};

class Visit {
 public:
  Visit() = default;
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  virtual ~Visit() = default;
  virtual std::optional<Refusal> on_request(Exchange&) { return std::nullopt; }
  virtual void on_request_chunk(Exchange&, ByteView) {}
  virtual void on_response(Exchange&, const ResponseHead&) {}
  virtual void on_response_chunk(Exchange&, ByteView) {}
  virtual void on_end(Exchange&) {}
};

class Filter {
 public:
  Filter() = default;
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  virtual ~Filter() = default;
  virtual std::unique_ptr<Visit> visit(const Exchange& exchange) = 0;
};

}  // namespace tb::sentinel::proxy

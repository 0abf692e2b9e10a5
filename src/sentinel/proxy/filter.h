// What looks at a request on its way: a short list of filters, made in main, each with one visit per request.
//
// Order of calls for one request: on_request (may refuse, then nothing goes upstream), request_transform once,
// on_request_chunk and on_response_chunk in any order, response_transform before the first response chunk, on_end
// always and last, in the reverse order of the list: the first filter sees what all others have found. A request's body
// passes the transforms in the order of the list, an answer in the reverse one: the last filter stands next to the
// runtime. All on the proxy's loop: nothing here may block.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "meter/token_usage.h"
#include "sentinel/api_keys.h"
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
  KeyLimits limits = {};
  Fields answer_fields;  ///< go into the head of whatever answer the client gets, refusals included
  int status = 0;        ///< sent to the client; 0 if it left before
  Outcome outcome = Outcome::kAborted;
  std::int64_t started_boot_ms = 0;
  std::uint64_t request_bytes = 0, response_bytes = 0;  ///< of the bodies
  std::string model;                                    ///< as the client asked for it; empty where it did not
  std::optional<meter::TokenUsage> usage;
};

/// Changes a body on its way. Memory is bounded: what is held back is at most one event, value or short body.
class BodyTransform {
 public:
  BodyTransform() = default;
  BodyTransform(const BodyTransform&) = delete;
  BodyTransform& operator=(const BodyTransform&) = delete;
  virtual ~BodyTransform() = default;
  /// Uses up `in` and appends to `out` what goes on. `last`: nothing comes after `in`, which may be empty. A refusal of
  /// a request's body is the client's answer, and the upstream connection is closed before the body was whole there.
  virtual std::optional<Refusal> feed(ByteView in, bool last, std::string& out) = 0;
  /// An answer ends properly after what feed() has given; what else the runtime says is not for the client.
  virtual bool ends_here() const { return false; }
};

/// How far an answer is read on for its numbers after the client has left.
struct DrainBounds {
  std::int64_t ms = 0;
  std::uint64_t bytes = 0;
};

class Visit {
 public:
  Visit() = default;
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  virtual ~Visit() = default;
  /// One of each filter is wanted for each request: the loop's thread keeps what ends for those that begin.
  static void* operator new(std::size_t bytes);
  static void operator delete(void* place, std::size_t bytes);
  virtual std::optional<Refusal> on_request(Exchange&) { return std::nullopt; }
  /// Nothing, or what the request's body passes through; the visit owns it.
  virtual BodyTransform* request_transform(Exchange&) { return nullptr; }
  /// As the client sent it.
  virtual void on_request_chunk(Exchange&, ByteView) {}
  /// May change the fields of the answer's head; its framing follows from the transforms: a short answer of known
  /// length, or one that is at hand as a whole, gets its new length, others are chunked. Answers without a body pass no
  /// transform.
  virtual BodyTransform* response_transform(Exchange&, ResponseHead&) { return nullptr; }
  /// As it was really sent to the client.
  virtual void on_response_chunk(Exchange&, ByteView) {}
  /// The client left after its request was whole, before its answer was: while it waited or in the middle. Nothing: the
  /// upstream connection is closed. The widest bounds of all filters hold; what is read on is given to the transforms
  /// only.
  virtual std::optional<DrainBounds> on_client_left(Exchange&) { return std::nullopt; }
  virtual void on_end(Exchange&) {}
};

class Filter {
 public:
  Filter() = default;
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  virtual ~Filter() = default;
  virtual std::unique_ptr<Visit> visit(const Exchange& exchange) = 0;
  /// After each round of the loop.
  virtual void after_round() {}
};

}  // namespace tb::sentinel::proxy

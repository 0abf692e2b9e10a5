// One request of an HTTP/2 connection and its answer. It is a client of HTTP/1.1 to a Session of our own, over a pair
// of sockets: all that holds for the one protocol holds for the other, because the exchange is the same.
//
// Frames are the connection's (h2_connection.h); here are bytes. What has not been taken at the other end is kept: of a
// body no more than the window that its client was given, of an answer no more than a head and one read.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sentinel/proxy/body.h"
#include "sentinel/proxy/engine.h"
#include "sentinel/proxy/h2_request.h"

namespace tb::sentinel::proxy {

class H2Stream;

class H2StreamOwner {
 public:
  virtual void on_stream(H2Stream& stream) = 0;

 protected:
  ~H2StreamOwner() = default;
};

class H2Stream final : public Watched {
 public:
  H2Stream(H2StreamOwner& owner, Engine& engine, std::int32_t id)
      : id(id), owner_(owner), engine_(engine), out_(engine.to_upstream) {}
  void note(std::uint32_t events) override {
    if (pair_) pair_->note(events);
  }
  void on_ready(std::uint32_t) override { owner_.on_stream(*this); }

  /// The head is there: a Session gets it. False if there is no room for one more.
  bool open(const Peer& peer, bool ends);
  /// Of the body, as it comes.
  void give(std::string_view data);
  void give_end();
  /// Sends what can be sent. How many bytes of the body have left since the last call.
  std::size_t flush();

  enum class Heard { kNothing, kContinue, kHead, kBroken };
  /// Looks for the answer's head, and then leaves it in `answer`.
  Heard listen();
  bool has_body() const { return !body_is_over(); }
  enum class Given { kSome, kWait, kEnd, kBroken };
  /// The next bytes of the answer's body. kEnd: and these are the last.
  Given provide(std::span<char> room, std::size_t& bytes);
  void close() { pair_.reset(), is_deaf_ = true; }

  const std::int32_t id;
  H2Request head;
  ResponseHead answer;
  std::size_t place = 0;       ///< in the connection's list
  std::int64_t deadline = 0;   ///< for the client to take more of the answer; 0: it waits for us
  bool is_ready = false;       ///< stands in the connection's list of those
  bool has_head = false;       ///< the client's is whole, and well formed
  bool is_answered = false;    ///< the head of the answer is on its way
  bool is_deferred = false;    ///< its body waits for the Session
  bool request_ended = false;  ///< by the client
  bool is_reset = false;       ///< by us
  bool is_over = false;        ///< the answer has left; what still comes of the request is dropped
  std::size_t dropped = 0;     ///< bytes of that

 private:
  bool body_is_over() const { return BodyCursor(body_).next({}).kind == BodyCursor::Kind::kEnd; }
  void frame(std::string_view data);

  H2StreamOwner& owner_;
  Engine& engine_;
  std::optional<Stream> pair_;
  Outbox out_;
  std::string waiting_;   ///< of the body, behind what the outbox keeps
  std::size_t owed_ = 0;  ///< bytes of the body that have not left
  bool end_waits_ = false, is_deaf_ = false, is_broken_ = false;
  std::string in_;  ///< of the answer, not yet used
  std::size_t known_ = 0;
  BodyCursor body_;
};

}  // namespace tb::sentinel::proxy

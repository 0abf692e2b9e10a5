// A client's connection that speaks HTTP/2 (chosen by ALPN): frames by nghttp2, each stream's exchange by a Session
// (h2_stream.h).
//
// Whatever becomes ready in a round of events is done together after it, so that what several streams have to say
// leaves in one record. Both directions wait for the slower side: a stream's window opens when its body has been taken,
// and an answer is read when its frames can leave. A peer that makes work and no requests is told to calm down and
// left.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sentinel/proxy/engine.h"
#include "sentinel/proxy/h2_stream.h"
#include "sentinel/proxy/rules.h"

typedef struct nghttp2_session nghttp2_session;

namespace tb::sentinel::proxy {

inline constexpr std::uint32_t kMostH2Streams = 100;
/// Of one stream's body, told and not yet taken by the runtime: as much as HTTP/1.1 keeps.
inline constexpr std::uint32_t kH2WindowBytes = 128 * 1024;

class H2Connection final : public Client, public H2StreamOwner {
 public:
  /// `client` has shaken hands, or is plain.
  H2Connection(Engine& engine, Stream client, Peer peer);
  ~H2Connection() override;

  void begin() override;
  void on_ready(std::uint32_t events) override;
  void on_stream(H2Stream& stream) override;
  void resume() override;
  void check_deadlines(std::int64_t now_ms) override;
  /// The streams' sessions are cut by themselves; what they say has a moment to leave.
  void cut(const Refusal& reason) override;
  bool is_cut() const override { return cut_; }
  Stream& stream() { return client_; }
  void say_ending() override;
  void close_if_idle() override;

 private:
  friend struct H2Events;  // nghttp2's callbacks
  struct SessionFree {
    void operator()(nghttp2_session* session) const;
  };
  enum class Phase { kServe, kLinger, kGone };

  void again();
  void receive();
  void serve_ready();
  void serve(H2Stream& stream);
  void answer(H2Stream& stream);
  void send();
  bool write_some(std::size_t& bytes);
  void settle();
  void linger();
  void set_deadlines();
  void leave();
  void calm_down();
  void spend(double tokens);
  void reset(H2Stream& stream, std::uint32_t code);
  void drop_rest(H2Stream& stream);
  H2Stream& add_stream(std::int32_t id);
  H2Stream* find(std::int32_t id);
  void open(H2Stream& stream, bool ends);
  void remove(H2Stream& stream);
  void gone();

  Engine& engine_;
  Stream client_;
  Peer peer_;
  std::unique_ptr<nghttp2_session, SessionFree> session_;
  std::vector<std::unique_ptr<H2Stream>> streams_;
  std::vector<H2Stream*> ready_;
  std::string out_;  ///< frames that the kernel has not taken
  Phase phase_ = Phase::kServe;
  std::int64_t client_deadline_ = 0, idle_deadline_ = 0, head_deadline_ = 0, end_deadline_ = 0;  ///< boot ms; 0: none
  std::int32_t head_id_ = 0;  ///< the stream whose head is on its way
  double tokens_;             ///< for frames that ask for nothing
  std::int64_t tokens_at_ms_;
  std::size_t lingered_ = 0;
  bool progress_ = false, queued_ = false, cut_ = false, failed_ = false;
  bool leaving_ = false;     ///< no new streams: the client has been told
  bool calmed_ = false;      ///< it has been told to calm down: nothing more is read
  bool must_linger_ = true;  ///< something of ours may still be on its way
};

}  // namespace tb::sentinel::proxy

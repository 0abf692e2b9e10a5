// One client connection from accept to close: reads heads, asks the filters, and passes bodies both ways.
//
// A state machine that runs on the proxy's loop whenever one of its two sockets may have become ready: it does what can
// be done without waiting and returns. The request's body (session_request.cc) and the answer (session_response.cc) go
// on beside each other, so that an early answer passes. What is read goes on before more is read: a slow reader stops
// whoever writes to it. Only this and check_deadlines() end an exchange; a record is made of it in any case.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sentinel/proxy/body.h"
#include "sentinel/proxy/engine.h"

namespace tb::sentinel::proxy {

class Session final : public Client, public UpstreamUser {
 public:
  Session(Engine& engine, Stream client, Peer peer);

  void begin() override;
  void on_ready(std::uint32_t events) override;
  void on_upstream() override;
  void on_connection(std::unique_ptr<UpstreamLink> link) override;
  void resume() override;
  void check_deadlines(std::int64_t now_ms) override;
  /// Ends what is under way: a stream of events by an event that tells `reason`, an answer that has not begun by
  /// `reason`, anything else hard. A client that is too slow for that is cut hard after kCutMs.
  void cut(const Refusal& reason) override;
  bool is_cut() const override { return cut_; }
  Stream& stream() { return client_; }
  void close_if_idle() override;

 private:
  enum class Phase { kHandshake, kHead, kExchange, kFinish, kLinger, kGone };
  enum class Next { kRequest, kClose, kLinger };  ///< after an answer

  /// One request and its answer. The object is used again for the next one, with its memory.
  struct Run {
    Exchange exchange;
    std::vector<std::unique_ptr<Visit>> visits;
    ResponseHead response;
    std::string target;     ///< as it goes upstream
    std::string collected;  ///< a body that is put together before it is sent
    BodyCursor request_body, response_body;
    TransformChain request_chain, response_chain;
    EventGate events;
    Framing upstream_framing = Framing::kNone, client_framing = Framing::kNone;
    int interim = 0;            ///< 1xx heads of the runtime
    std::uint64_t drained = 0;  ///< bytes of the answer since the client left
    std::uint64_t drain_most = 0;
    std::uint64_t took_before = 0;  ///< bytes that connections to the runtime had taken
    bool active = false;            ///< visits are made and not ended
    bool collecting = false;        ///< the request's body
    bool request_over = false;      ///< nothing more of it is taken from the client
    bool request_whole = false;     ///< the runtime has been given all of it
    bool head_taken = false;        ///< of the answer
    bool collecting_answer = false;
    bool answered = false;  ///< some of an answer has been sent
    bool close_after = false;
    bool client_gone = false;
  };

  void advance();
  bool step();
  bool waits_for_the_round(Outbox& out);
  void park();
  void set_deadlines();

  // session.cc: heads, and how requests begin and end
  bool shake_hands();
  bool read_head();
  void begin_visits();
  void end_visits();
  void begin_exchange();
  std::optional<Refusal> decide();
  void refuse(Refusal refusal, Outcome outcome, Next next);
  bool finish();
  bool linger();
  void to_next_head();
  void close_or_linger(bool must_linger);
  void fail(const Refusal& refusal, Outcome outcome);
  void hard_end(Outcome outcome);
  void look_for_client();
  void client_left();
  void end_run();
  void gone();

  // session_request.cc
  bool step_request();
  bool take_request_pieces(std::size_t& used, BodyCursor::Kind& kind);
  bool send_up(bool end);
  void send_collected(bool end);
  void open_upstream(Framing framing, std::uint64_t length);
  void connect_upstream();
  Io flush_upstream();
  void drop_link();

  // session_response.cc
  bool step_response();
  bool take_response_head();
  void begin_response();
  bool relay_body();
  bool take_answer_pieces(std::size_t& used, bool& end);
  bool transform_answer(bool& end);
  void send_pieces(bool end);
  void send_response_head(bool whole);
  void finish_response(bool clean);
  void upstream_failed();
  Io flush_client();

  Engine& engine_;
  Stream client_;
  Peer peer_;
  Intake client_in_, upstream_in_;
  Outbox client_out_, upstream_out_;
  std::unique_ptr<UpstreamLink> link_;
  Run run_;
  Phase phase_ = Phase::kHandshake;
  Next next_ = Next::kClose;
  std::int64_t client_deadline_ = 0, upstream_deadline_ = 0;  ///< boot ms; 0: none
  std::int64_t connect_deadline_ = 0, connect_again_ = 0, drain_deadline_ = 0;
  std::size_t head_known_ = 0;  ///< bytes of a head that were looked through
  std::size_t lingered_ = 0;
  bool progress_ = false;  ///< bytes have moved since the deadlines were set
  bool cut_ = false, queued_ = false, upstream_timed_out_ = false, flush_failed_ = false;
};

}  // namespace tb::sentinel::proxy

// What the connections of a proxy share: one loop on one thread, the runtime's connections, rooms to read into, and the
// texts that are put together for each message. All of it belongs to that thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/secret.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "sentinel/proxy/filter.h"
#include "sentinel/proxy/poller.h"
#include "sentinel/proxy/proxy.h"
#include "sentinel/proxy/stream.h"
#include "sentinel/proxy/upstream.h"

namespace tb::sentinel::proxy {

/// A client of the loop: a connection of HTTP/1.1 or 2, or one stream of the latter.
class Client : public Watched {
 public:
  virtual void begin() = 0;
  /// Goes on where it had let others go first.
  virtual void resume() = 0;
  virtual void check_deadlines(std::int64_t now_ms) = 0;
  /// Ends what is under way with `reason`.
  virtual void cut(const Refusal& reason) = 0;
  virtual bool is_cut() const = 0;
  /// Nothing more should be sent here: says so where the protocol can.
  virtual void say_ending() {}
  /// Draining: ends if it is between requests.
  virtual void close_if_idle() = 0;

  std::size_t place = 0;  ///< in Engine::clients
};

/// Request ids: 128 random bits in hex, drawn in bulk.
class RequestIds {
 public:
  void next(std::string& id);

 private:
  static constexpr std::size_t kIdBytes = 16;
  std::array<std::uint8_t, 64 * kIdBytes> drawn_{};
  std::size_t used_ = drawn_.size();
};

/// Counters of the proxy itself; what requests are like is the filters' to count.
struct Instruments {
  explicit Instruments(obs::Metrics& metrics);
  obs::Gauge& connections;
  obs::Counter& upstream_connections;
  obs::Counter& turned_away;
  obs::Counter& timeouts;
  obs::Counter& drained;
  obs::Counter& drained_bytes;
  obs::Counter& cut_streams;
  obs::Counter& tls_failures;
  obs::Counter& http2_connections;
  obs::Counter& floods;
};

struct Engine {
  Engine(const ProxyOptions& options_in, const std::vector<std::unique_ptr<Filter>>& filters_in, obs::Log log_in,
         obs::Metrics& metrics);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// One round of events, of deadlines that have passed and of connections that had more to do.
  void round();
  void add(std::unique_ptr<Client> client);
  /// The client has ended; it is destroyed after this round.
  void remove(Client& client);
  /// The client has more to do and lets others go first.
  void again(Client& client);
  /// Some deadline of a client is at `boot_ms`.
  void note_deadline(std::int64_t boot_ms) {
    if (boot_ms < next_deadline) next_deadline = boot_ms;
  }
  /// Calls `job` once, at that time. For rare things: one at a time.
  void call_at(std::int64_t boot_ms, std::function<void()> job);
  /// Tells the filters of a request that was refused before its head was whole: there is no Session that would.
  void note_refused(const Peer& peer, int status);
  /// Ends all that is under way with `reason`.
  void cut(const Refusal& reason);
  /// All clients are told that nothing more should come, or, `draining`, that nothing more is taken.
  void say_ending(bool draining_now);
  /// Requests under way of the last cut that have not ended yet.
  std::size_t left_of_cut() const;

  const ProxyOptions& options;
  const std::vector<std::unique_ptr<Filter>>& filters;
  obs::Log log;
  Instruments instruments;
  AllowList allowed;
  Poller poller;
  UpstreamPool pool;
  RequestIds ids;
  std::shared_ptr<const SecretString> bearer = nullptr;  ///< the runtime's key of this generation
  bool is_ending() const { return last_requests || draining; }
  bool last_requests = false;  ///< answers end their connections: nothing more should come
  bool draining = false;       ///< and nothing more is taken

  ReadRoom client_room, upstream_room;
  Outbox::Gather to_client, to_upstream;
  std::string client_text, upstream_text, transformed, events_text;
  std::vector<std::string_view> pieces;

  std::vector<std::unique_ptr<Client>> clients;
  std::vector<Client*> waiting_again;
  std::int64_t next_deadline = std::numeric_limits<std::int64_t>::max();

 private:
  void check_deadlines();
  std::int64_t job_at_ = 0;
  std::function<void()> job_;
};

}  // namespace tb::sentinel::proxy

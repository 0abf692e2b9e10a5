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

class Session;

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
};

struct Engine {
  Engine(const ProxyOptions& options_in, const std::vector<std::unique_ptr<Filter>>& filters_in, obs::Log log_in,
         obs::Metrics& metrics);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// One round of events, of deadlines that have passed and of connections that had more to do.
  void round();
  void add(std::unique_ptr<Session> session);
  /// The session has ended; it is destroyed after this round.
  void remove(Session& session);
  /// The session has more to do and lets others go first.
  void again(Session& session);
  /// Some deadline of a session is at `boot_ms`.
  void note_deadline(std::int64_t boot_ms) {
    if (boot_ms < next_deadline) next_deadline = boot_ms;
  }
  /// Calls `job` once, at that time. For rare things: one at a time.
  void call_at(std::int64_t boot_ms, std::function<void()> job);
  /// Ends all that is under way with `reason`.
  void cut(const Refusal& reason);
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

  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session*> waiting_again;
  std::int64_t next_deadline = std::numeric_limits<std::int64_t>::max();

 private:
  void check_deadlines();
  std::int64_t job_at_ = 0;
  std::function<void()> job_;
};

}  // namespace tb::sentinel::proxy

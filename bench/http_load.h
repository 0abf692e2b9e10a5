// A load generator for one HTTP/1.1 server on loopback: one thread, many connections, no work but bytes, so that what
// it costs itself is small and can be told.
//
// Closed loop: every connection sends its next request when it has its answer. Open loop: requests have a due time, and
// latency counts from it, whether or not a connection was free then: a server that falls behind shows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tb::bench {

struct Shot {
  std::string bytes;       ///< the whole request
  double due_seconds = 0;  ///< after the start; in ascending order
};

/// What a run was like. Seconds.
struct Load {
  double wall = 0;
  double generator_cpu = 0;      ///< of the thread that generates, its kernel's work included
  std::vector<double> latency;   ///< of each answer, in any order
  std::vector<std::string> bad;  ///< statuses and bodies of answers that were not 200, and connections that broke
  std::size_t connected = 0;     ///< connections opened

  double per_second() const { return static_cast<double>(latency.size()) / wall; }
  /// 0 to 1.
  double percentile(double part) const;
};

struct HttpLoadOptions {
  std::uint16_t port = 0;
  std::size_t connections = 1;     ///< at once
  bool fresh_connections = false;  ///< one for each request, closed after its answer
};

/// Sends all `shots`; calls `on_answer(index, body)` for each 200.
Load send_all(const HttpLoadOptions& options, const std::vector<Shot>& shots,
              const std::function<void(std::size_t index, std::string_view body)>& on_answer);

}  // namespace tb::bench

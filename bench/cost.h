// For benchmarks only: what a piece of work took by the clock and by processors, ours and those of the servers that it
// used. Processor time hardly depends on who else uses the machine; wall time does.
#pragma once

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/fs.h"

namespace tb::bench {

/// Seconds.
struct Cost {
  double wall = 0;
  double own = 0;     ///< processor time of this process, its kernel's work included, and of children it waited for
  double server = 0;  ///< of the processes that serve it

  double cpu() const { return own + server; }
  Cost& operator+=(const Cost& other) {
    wall += other.wall, own += other.own, server += other.server;
    return *this;
  }
};

inline unsigned cores() {
  return std::max(1U, std::thread::hardware_concurrency());
}

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double own_cpu_seconds() {
  double sum = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    getrusage(who, &used);
    for (const timeval& time : {used.ru_utime, used.ru_stime}) {
      sum += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    }
  }
  return sum;
}

/// Of a process with one thread, to the nanosecond: /proc/PID/stat counts hundredths of a second. Throws if it has
/// ended: a figure without it would be wrong.
inline double cpu_seconds_of(const std::string& pid) {
  return std::strtod(value_or_throw(read_small_file("/proc/" + pid + "/schedstat")).c_str(), nullptr) * 1e-9;
}

inline std::vector<std::string> children_of(const std::string& pid) {
  std::vector<std::string> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir("/proc"), closedir);
  while (const dirent* entry = listing ? readdir(listing.get()) : nullptr) {
    const std::string name = entry->d_name;
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto status = read_small_file("/proc/" + name + "/status");
    if (status && status->find(fmt::format("\nPPid:\t{}\n", pid)) != std::string::npos) found.push_back(name);
  }
  return found;
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace tb::bench

#include "sentinel/machine_watch.h"

#include <time.h>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxFileBytes = 4096;

/// A file that cannot be read is a value, too: one that comes or goes is a change.
std::string value_of(const std::string& path) {
  const auto text = read_small_file(path, kMaxFileBytes);
  return text ? sha256_hex(*text) : "none";
}

}  // namespace

std::string_view doubt_text(Doubt doubt) {
  switch (doubt) {
    case Doubt::kGeneration:
      return "the VM's generation id has changed";
    case Doubt::kSlept:
      return "the machine was suspended";
    case Doubt::kClockAhead:
      return "the wall clock has run ahead of the time since boot";
  }
  return "";
}

std::optional<Doubt> doubt_between(const MachineSample& trusted, const MachineSample& now) {
  if (trusted.generation != now.generation) return Doubt::kGeneration;
  const std::int64_t boot = now.boot_ms - trusted.boot_ms;
  if (boot - (now.monotonic_ms - trusted.monotonic_ms) > kMaxClockGapMs) return Doubt::kSlept;
  if (now.wall_ms - trusted.wall_ms - boot > kMaxClockGapMs) return Doubt::kClockAhead;
  return std::nullopt;
}

MachineSample MachineWatch::sample() const {
  timespec monotonic{};
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  MachineSample out{.boot_ms = boot_ms_now(),
                    .monotonic_ms = std::int64_t{monotonic.tv_sec} * 1000 + monotonic.tv_nsec / 1'000'000,
                    .wall_ms = unix_ms_now(),
                    .generation = value_of("/sys/class/dmi/id/product_uuid")};
  if (!generation_file_.empty()) out.generation += ":" + value_of(generation_file_);
  return out;
}

}  // namespace tb::sentinel

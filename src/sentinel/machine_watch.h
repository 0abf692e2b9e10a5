// Whether this is still the machine, and the time, that the lease was renewed on. A VM that was resumed, restored from
// a snapshot or copied while it ran knows nothing of it by itself; what shows it from inside is here, and each sign
// makes the lease doubtful until the control plane has renewed it (docs/suspension.md says what is seen by none of
// them).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace tb::sentinel {

/// What the machine says of itself at one moment.
struct MachineSample {
  std::int64_t boot_ms = 0;       ///< CLOCK_BOOTTIME: goes on while the machine sleeps
  std::int64_t monotonic_ms = 0;  ///< CLOCK_MONOTONIC: does not
  UnixMs wall_ms = 0;
  std::string generation;  ///< of the file and of DMI product_uuid; equal as long as nothing changed
};

enum class Doubt {
  kGeneration,  ///< another generation id: restored or copied
  kSlept,       ///< the machine was suspended to memory or disk
  kClockAhead,  ///< the wall clock has gone further than the boot clock: time has passed that this machine did not see
};
/// "the VM's generation id has changed", …
std::string_view doubt_text(Doubt doubt);

/// Most that clocks may part from each other between two samples that are the same machine's: a clock that is slewed or
/// stepped by its time service moves less.
inline constexpr std::int64_t kMaxClockGapMs = 10'000;

/// What makes the second sample doubtful to who trusted the first. A wall clock that was set back is none: nothing here
/// is decided by it.
std::optional<Doubt> doubt_between(const MachineSample& trusted, const MachineSample& now);

class MachineWatch {
 public:
  /// `generation_file`: TB_VM_GENERATION_FILE; empty: none.
  explicit MachineWatch(std::string generation_file) : generation_file_(std::move(generation_file)) {}

  MachineSample sample() const;

 private:
  std::string generation_file_;
};

}  // namespace tb::sentinel

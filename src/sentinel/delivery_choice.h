// Which delivery a model gets (wire 2.2, TB_DELIVERY). Pure: facts in, choice out; the facts are found out beside it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "asset/manifest.h"
#include "sentinel/config.h"

namespace tb::sentinel {

struct DeliveryFacts {
  bool has_content = true;       ///< the manifest says what the plaintext is; the first implementation's does not
  std::string mount_fault;       ///< why a FUSE mount does not work here; empty: it does
  bool runtime_is_child = true;  ///< the sentinel starts it: it sees what is mounted here
  bool shared_place = false;     ///< TB_MODEL_DIR lies on shared propagation: others see what is mounted here
  std::uint64_t plaintext_bytes = 0;
  std::optional<std::uint64_t> memory_bytes;  ///< that are free, if that is known
};

enum class DeliveryKind { kMount, kTmpfs, kFifo };

/// True if the runtime sees what the sentinel mounts.
inline bool mounts_are_seen(const DeliveryFacts& facts) {
  return facts.runtime_is_child || facts.shared_place;
}

/// `choice` as it is, or for kAuto: what the first implementation made goes into a FIFO; else a mount, where one works
/// and the runtime sees it; else files in memory, where they fit. Throws "delivery_impossible" with what to change.
DeliveryKind choose_delivery(DeliveryChoice choice, const DeliveryFacts& facts);

/// The same of this machine, by where TB_MODEL_DIR lies.
bool mounts_are_seen(const Config& config);

/// The facts of this machine, as far as `config` needs them.
DeliveryFacts delivery_facts(const Config& config, const asset::Manifest& manifest);

}  // namespace tb::sentinel

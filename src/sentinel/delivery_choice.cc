#include "sentinel/delivery_choice.h"

#include <fmt/format.h>

#include "base/memory.h"
#include "deliver/mount.h"
#include "deliver/mount_table.h"

namespace tb::sentinel {

DeliveryKind choose_delivery(DeliveryChoice choice, const DeliveryFacts& facts) {
  switch (choice) {
    case DeliveryChoice::kMount:
      return DeliveryKind::kMount;
    case DeliveryChoice::kTmpfs:
      return DeliveryKind::kTmpfs;
    case DeliveryChoice::kFifo:
      return DeliveryKind::kFifo;
    case DeliveryChoice::kAuto:
      break;
  }
  if (!facts.has_content) return DeliveryKind::kFifo;
  if (facts.mount_fault.empty() && mounts_are_seen(facts)) return DeliveryKind::kMount;
  if (!facts.memory_bytes || *facts.memory_bytes >= facts.plaintext_bytes) return DeliveryKind::kTmpfs;
  const std::string no_mount = facts.mount_fault.empty() ? "a mount would not be seen by a runtime that somebody else "
                                                           "starts, as TB_MODEL_DIR is not on shared propagation"
                                                         : "mounts do not work here (" + facts.mount_fault + ")";
  throw Error("delivery_impossible",
              fmt::format("{}, and the model's {} MiB do not fit into the {} MiB of memory that are free", no_mount,
                          (facts.plaintext_bytes >> 20) + 1, *facts.memory_bytes >> 20));
}

bool mounts_are_seen(const Config& config) {
  return !config.runtime_command.empty() ||
         deliver::mount_is_seen_by_others(deliver::own_mount_table(), config.model_dir);
}

DeliveryFacts delivery_facts(const Config& config, const asset::Manifest& manifest) {
  DeliveryFacts facts;
  facts.has_content = manifest.content().has_value();
  facts.runtime_is_child = !config.runtime_command.empty();
  facts.shared_place = deliver::mount_is_seen_by_others(deliver::own_mount_table(), config.model_dir);
  facts.plaintext_bytes = manifest.plaintext_bytes();
  facts.memory_bytes = memory_available();
  if (config.delivery == DeliveryChoice::kAuto && facts.has_content && mounts_are_seen(facts)) {
    auto works = deliver::mount_works();
    // A volume of the orchestrator's is mounted there, or holds what others put into it: files in memory do with that.
    if (works) works = deliver::mount_fits(config.model_dir, config.runtime_uid);
    if (!works) facts.mount_fault = works.error().story();
  }
  return facts;
}

}  // namespace tb::sentinel

// How much memory can still be had: what must be known before a model is put into it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace tb {

/// Bytes of `MemAvailable` in the text of /proc/meminfo.
std::optional<std::uint64_t> meminfo_available(std::string_view meminfo);
/// Bytes between usage and limit of a cgroup v2, from the texts of its memory.max, memory.current and memory.stat: page
/// cache of files (`inactive_file`) counts as free. Nothing if there is no limit.
std::optional<std::uint64_t> cgroup_room(std::string_view max, std::string_view current, std::string_view stat);

/// What this process can still take without being killed: the least of the machine's and its cgroup's. Nothing if the
/// kernel does not say.
std::optional<std::uint64_t> memory_available();

}  // namespace tb

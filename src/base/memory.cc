#include "base/memory.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/fs.h"

namespace tb {
namespace {

std::optional<std::uint64_t> leading_number(std::string_view text) {
  const auto start = text.find_first_not_of(" \t");
  if (start == std::string_view::npos) return std::nullopt;
  text.remove_prefix(start);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

/// The number after `name` at the start of a line.
std::optional<std::uint64_t> field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.starts_with(name)) return leading_number(line.substr(name.size()));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

std::string text_of(const std::string& path) {
  return read_small_file(path).value_or("");
}

/// Directory of our cgroup in the unified hierarchy.
std::string cgroup_directory() {
  const std::string own = text_of("/proc/self/cgroup");
  const auto at = own.find("0::");
  if (at == std::string::npos) return "/sys/fs/cgroup";
  const auto path = own.substr(at + 3, own.find('\n', at) - at - 3);
  return "/sys/fs/cgroup" + (path == "/" ? "" : path);
}

}  // namespace

std::optional<std::uint64_t> meminfo_available(std::string_view meminfo) {
  const auto kib = field(meminfo, "MemAvailable:");
  if (!kib) return std::nullopt;
  return *kib * 1024;
}

std::optional<std::uint64_t> cgroup_room(std::string_view max, std::string_view current, std::string_view stat) {
  const auto limit = leading_number(max);  // "max" where there is none
  const auto used = leading_number(current);
  if (!limit || !used) return std::nullopt;
  const std::uint64_t reclaimable = std::min(field(stat, "inactive_file ").value_or(0), *used);
  const std::uint64_t held = *used - reclaimable;
  return held >= *limit ? 0 : *limit - held;
}

std::optional<std::uint64_t> memory_available() {
  const auto machine = meminfo_available(text_of("/proc/meminfo"));
  const std::string dir = cgroup_directory();
  const auto group = cgroup_room(text_of(dir + "/memory.max"), text_of(dir + "/memory.current"),
                                 text_of(dir + "/memory.stat"));
  if (machine && group) return std::min(*machine, *group);
  return machine ? machine : group;
}

}  // namespace tb

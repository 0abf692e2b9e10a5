#include "deliver/mount_table.h"

#include <algorithm>
#include <ranges>

#include "base/fs.h"

namespace tb::deliver {
namespace {

constexpr std::size_t kMostTableBytes = std::size_t{16} << 20;

/// The kernel writes space, tab, line feed and backslash as \ooo.
std::string unescaped(std::string_view field) {
  std::string out;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const auto digit = [&](std::size_t at) { return field[at] >= '0' && field[at] <= '7'; };
    if (field[i] == '\\' && i + 3 < field.size() && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      out += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0'));
      i += 3;
    } else {
      out += field[i];
    }
  }
  return out;
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    const auto end = std::min(line.find(' '), line.size());
    if (end > 0) out.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return out;
}

/// `ID parent major:minor root POINT options [optional…] - TYPE SOURCE super-options`
std::optional<MountRow> row_of(std::string_view line) {
  constexpr std::size_t kPoint = 4, kFirstOptional = 6;
  const auto fields = words(line);
  if (fields.size() < kFirstOptional) return std::nullopt;
  const auto optional = fields.begin() + kFirstOptional;
  const auto dash = std::find(optional, fields.end(), "-");
  if (fields.end() - dash < 3) return std::nullopt;
  MountRow row{unescaped(fields[kPoint]), unescaped(dash[1]), unescaped(dash[2])};
  row.shared = std::any_of(optional, dash, [](std::string_view tag) { return tag.starts_with("shared:"); });
  return row;
}

bool lies_below(std::string_view path, std::string_view point) {
  if (point == "/") return path.starts_with('/');
  return path.starts_with(point) && (path.size() == point.size() || path[point.size()] == '/');
}

}  // namespace

std::vector<MountRow> mount_table(std::string_view mountinfo) {
  std::vector<MountRow> table;
  while (!mountinfo.empty()) {
    const auto end = std::min(mountinfo.find('\n'), mountinfo.size());
    if (auto row = row_of(mountinfo.substr(0, end))) table.push_back(std::move(*row));
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
  }
  return table;
}

std::optional<MountRow> mount_at(const std::vector<MountRow>& table, std::string_view path) {
  for (const MountRow& row : table | std::views::reverse) {
    if (row.point == path) return row;
  }
  return std::nullopt;
}

std::optional<MountRow> mount_of(const std::vector<MountRow>& table, std::string_view path) {
  const MountRow* found = nullptr;
  for (const MountRow& row : table) {
    // Of two at one point the later covers the earlier.
    if (lies_below(path, row.point) && (found == nullptr || row.point.size() >= found->point.size())) found = &row;
  }
  return found == nullptr ? std::nullopt : std::optional(*found);
}

bool mount_is_seen_by_others(const std::vector<MountRow>& table, std::string_view path) {
  const auto row = mount_of(table, path);
  return row && row->shared;
}

std::vector<MountRow> own_mount_table() {
  return mount_table(read_small_file("/proc/self/mountinfo", kMostTableBytes).value_or(""));
}

}  // namespace tb::deliver

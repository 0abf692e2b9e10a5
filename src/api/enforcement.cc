#include "api/enforcement.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tb::api {
namespace {

constexpr std::array<std::pair<std::string_view, Grade>, 4> kGrades = {
    {{"none", Grade::kNone}, {"warn", Grade::kWarn}, {"throttle", Grade::kThrottle}, {"drain", Grade::kDrain}}};

}  // namespace

std::string_view grade_name(Grade grade) {
  for (const auto& [name, value] : kGrades) {
    if (value == grade) return name;
  }
  return "none";
}

Grade grade_from(std::string_view name) {
  if (name.empty()) return Grade::kNone;
  for (const auto& [known, value] : kGrades) {
    if (known == name) return value;
  }
  return Grade::kWarn;
}

bool is_grade(std::string_view name) {
  return std::ranges::any_of(kGrades, [&](const auto& each) { return each.first == name; });
}

bool valid_notice(std::string_view notice) {
  return notice.size() <= kMaxNoticeBytes && std::ranges::all_of(notice, [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace tb::api

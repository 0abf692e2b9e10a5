// Findings as JSON and as lines.
#include "obs/finding.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::obs {
namespace {

std::string_view health_name(Health health) {
  switch (health) {
    case Health::kOk:
      return "ok";
    case Health::kWarning:
      return "warning";
    case Health::kFault:
      return "fault";
  }
  return "fault";
}

}  // namespace

bool is_healthy(const std::vector<Finding>& findings) {
  return std::ranges::none_of(findings, [](const Finding& finding) { return finding.health == Health::kFault; });
}

Json to_json(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    Json item = Json::object();
    item.set("name", finding.name);
    item.set("health", health_name(finding.health));
    item.set("value", finding.value);
    item.set("advice", finding.advice);
    list.push(std::move(item));
  }
  Json result = Json::object();
  result.set("healthy", is_healthy(findings));
  result.set("findings", std::move(list));
  return result;
}

std::string to_text(const std::vector<Finding>& findings) {
  std::size_t width = 12;
  for (const Finding& finding : findings) width = std::max(width, finding.name.size());
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<8} {:<{}} {}\n", health_name(finding.health), finding.name, width, finding.value);
    if (!finding.advice.empty()) text += fmt::format("{:{}} {}\n", "", width + 9, finding.advice);
  }
  return text;
}

}  // namespace tb::obs

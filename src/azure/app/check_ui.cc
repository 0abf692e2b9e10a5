// Rules on the form alone: its frame and its controls.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "azure/app/subject.h"

namespace tb::azure {
namespace {

constexpr std::string_view kSchema =
    "https://schema.management.azure.com/schemas/0.1.2-preview/CreateUIDefinition.MultiVm.json#";
constexpr std::size_t kMaxPattern = 4096;
constexpr int kPasswordMinLength = 12;

void check_frame(const Subject& subject, Report& report) {
  if (text_of(subject.ui, "$schema") != kSchema) {
    report.add("CreateUIDefinition-Should-Have-Schema", kCreateUi, "/$schema", "the schema is missing, or another one");
  }
  const std::string_view handler = text_of(subject.ui, "handler");
  if (handler != "Microsoft.Azure.CreateUIDef" && handler != "Microsoft.Compute.MultiVm") {
    report.add("Handler-Must-Be-Correct", kCreateUi, "/handler", "the handler is missing, or another one");
  }
  const Json* parameters = subject.ui.find("parameters");
  if (parameters == nullptr || !parameters->is_object()) {
    report.add("CreateUIDefinition-Must-Have-Parameters", kCreateUi, "", "the form has no parameters");
    return;
  }
  const Json* outputs = parameters->find("outputs");
  if (outputs != nullptr && text_of(*outputs, "location").empty()) {
    report.add("Location-Should-Be-In-Outputs", kCreateUi, "/parameters/outputs",
               "the region that was chosen is not given out");
  }
}

// What keeps a pattern from compiling in the dialects that matter: brackets that do not match, nothing to repeat.
std::string fault_of_pattern(std::string_view pattern) {
  if (pattern.size() > kMaxPattern) return "too long";
  int open = 0;
  bool in_set = false, may_repeat = false;
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    const char c = pattern[at];
    if (c == '\\') {
      if (++at >= pattern.size()) return "a backslash at the end";
      may_repeat = true;
    } else if (in_set) {
      in_set = c != ']';
      may_repeat = true;
    } else if (c == '[') {
      in_set = true;
      if (at + 1 < pattern.size() && pattern[at + 1] == '^') ++at;
      if (at + 1 < pattern.size() && pattern[at + 1] == ']') ++at;
    } else if (c == '(') {
      ++open;
      may_repeat = false;
      if (at + 1 < pattern.size() && pattern[at + 1] == '?') ++at;
    } else if (c == ')') {
      if (--open < 0) return "a bracket that was not opened";
      may_repeat = true;
    } else if (c == '*' || c == '+' || c == '?') {
      if (!may_repeat) return "nothing to repeat";
      if (at + 1 < pattern.size() && (pattern[at + 1] == '?' || pattern[at + 1] == '+')) ++at;
      may_repeat = false;
    } else {
      may_repeat = c != '|' && c != '^';
    }
  }
  if (in_set || open != 0) return "a bracket that is not closed";
  return {};
}

// Sum of the least numbers of all {N…}; -1 without any.
int least_length(std::string_view pattern) {
  int sum = 0;
  bool any = false;
  for (std::size_t at = pattern.find('{'); at != std::string_view::npos; at = pattern.find('{', at + 1)) {
    int number = 0;
    std::size_t digit = at + 1;
    for (; digit < pattern.size() && pattern[digit] >= '0' && pattern[digit] <= '9' && number < 10'000; ++digit)
      number = number * 10 + (pattern[digit] - '0');
    any |= digit > at + 1;
    sum += number;
  }
  return any ? sum : -1;
}

void check_text_box(const std::string& at, const Json& control, Report& report) {
  constexpr std::string_view kRule = "Textboxes-Are-Well-Formed";
  const Json* constraints = control.find("constraints");
  if (constraints == nullptr) {
    report.add(kRule, kCreateUi, at, "a text box without constraints");
    return;
  }
  const bool has_validations = constraints->find("validations") != nullptr;
  const std::string_view pattern = text_of(*constraints, "regex");
  if (pattern.empty() && !has_validations)
    report.add(kRule, kCreateUi, pointer_to(at, "constraints"), "a text box without a regex");
  if (const std::string fault = is_expression(pattern) ? "" : fault_of_pattern(pattern); !fault.empty()) {
    report.add(kRule, kCreateUi, at + "/constraints/regex", fmt::format("the regex does not compile: {}", fault));
  }
  if (text_of(*constraints, "validationMessage").empty() && !has_validations) {
    report.add(kRule, kCreateUi, pointer_to(at, "constraints"), "a text box without a validationMessage");
  }
}

void check_password_box(const std::string& at, const Json& control, Report& report) {
  constexpr std::string_view kRule = "PasswordBoxes-Must-Have-Min-Length";
  const Json* constraints = control.find("constraints");
  if (constraints == nullptr) {
    report.add(kRule, kCreateUi, at, "a password box without constraints");
    return;
  }
  const std::string_view pattern = text_of(*constraints, "regex");
  if (pattern.empty() || is_expression(pattern)) return;
  if (const std::string fault = fault_of_pattern(pattern); !fault.empty()) {
    report.add(kRule, kCreateUi, at + "/constraints/regex", fmt::format("the regex does not compile: {}", fault));
  } else if (least_length(pattern) < kPasswordMinLength) {
    report.add(kRule, kCreateUi, at + "/constraints/regex",
               fmt::format("fewer than {} characters are accepted", kPasswordMinLength));
  }
}

void check_control(const std::string& at, const Json& control, Report& report) {
  const std::string_view type = text_of(control, "type");
  constexpr auto kWithoutTip = std::to_array<std::string_view>(
      {"Microsoft.Common.InfoBox", "Microsoft.Common.Section", "Microsoft.Common.TextBlock"});
  const bool has_tip = !text_of(control, "toolTip").empty() ||
                       (control.find("toolTip") != nullptr && control.find("toolTip")->is_object());
  if (!has_tip && std::ranges::none_of(kWithoutTip, [&](std::string_view other) { return same_word(other, type); })) {
    report.add("Tooltips-Should-Be-Present", kCreateUi, at, fmt::format("{} has no toolTip", text_of(control, "name")));
  }
  if (same_word(type, "Microsoft.Common.TextBox")) check_text_box(at, control, report);
  const bool password = same_word(type, "Microsoft.Common.PasswordBox");
  if (password) check_password_box(at, control, report);
  const Json* hidden = reach(control, {"options", "hideConfirmation"});
  if ((password || same_word(type, "Microsoft.Compute.CredentialsCombo")) && hidden != nullptr && hidden->is_bool() &&
      hidden->as_bool()) {
    report.add("Credential-Confirmation-Should-Not-Be-Hidden", kCreateUi, at + "/options/hideConfirmation",
               "a secret is entered once only");
  }
  if (same_word(type, "Microsoft.Compute.UserNameTextBox") && !text_of(control, "defaultValue").empty()) {
    report.add("Usernames-Should-Not-Have-A-Default", kCreateUi, at, "every deployment would have the same user");
  }
}

void check_selectors(const Subject& subject, Report& report) {
  constexpr auto kMayHide = std::to_array<std::string_view>({"Microsoft.Storage.StorageAccountSelector",
                                                             "Microsoft.Network.PublicIpAddressCombo",
                                                             "Microsoft.Network.VirtualNetworkCombo"});
  std::string where;
  each_below(subject.ui, "", [&](const std::string& pointer, std::string_view name, const Json& value, const Json&) {
    if (name != "type" || !value.is_string()) return;
    if (std::ranges::any_of(kMayHide, [&](std::string_view other) { return same_word(other, value.as_string()); }))
      where = pointer;
  });
  if (where.empty()) return;
  const Json* outputs = reach(subject.ui, {"parameters", "outputs"});
  for (std::string_view wanted : {"resourcegroup", "neworexisting"}) {
    bool found = false;
    if (outputs != nullptr && outputs->is_object()) {
      for (const auto& [name, value] : outputs->as_object()) found |= has_word(name, wanted);
    }
    if (!found)
      report.add("HideExisting-Must-Be-Correctly-Handled", kCreateUi, where,
                 fmt::format("no output is named …{}", wanted));
  }
}

}  // namespace

void check_ui(const Subject& subject, Report& report) {
  check_frame(subject, report);
  each_below(
      subject.ui, "", [&](const std::string& pointer, std::string_view name, const Json& value, const Json& parent) {
        if (name == "type" && value.is_string() && value.as_string().starts_with("Microsoft.") &&
            parent.find("name") != nullptr) {
          check_control(pointer.substr(0, pointer.rfind('/')), parent, report);
        }
        if (name == "validations" && value.is_array()) {
          for (std::size_t i = 0; i < value.as_array().size(); ++i) {
            if (text_of(value.as_array()[i], "message").empty()) {
              report.add("Validations-Must-Have-Message", kCreateUi, pointer_to(pointer, std::to_string(i)),
                         "a validation says nothing");
            }
          }
        }
        const bool blank = value.is_null() || (value.is_string() && value.as_string().empty()) ||
                           (value.is_array() && value.as_array().empty()) ||
                           (value.is_object() && value.as_object().empty());
        if (blank && parent.is_object() && name != "basics" && name != "steps" && name != "defaultValue") {
          report.add("CreateUIDefinition-Must-Not-Have-Blanks", kCreateUi, pointer, fmt::format("{} is empty", name));
        }
      });
  check_selectors(subject, report);
}

}  // namespace tb::azure

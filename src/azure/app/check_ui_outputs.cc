// Rules between the form and the template: what the form gives out is what the template takes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "azure/app/subject.h"

namespace tb::azure {
namespace {

const Json kNone = Json::object();

const Json& outputs_of(const Subject& subject) {
  const Json* found = reach(subject.ui, {"parameters", "outputs"});
  return found != nullptr && found->is_object() ? *found : kNone;
}

const Json* named(const Json* list, std::string_view name) {
  if (list == nullptr || !list->is_array()) return nullptr;
  for (const Json& item : list->as_array()) {
    if (same_word(text_of(item, "name"), name)) return &item;
  }
  return nullptr;
}

std::optional<Expression> expression_of(const Json& value) {
  if (!value.is_string() || !is_expression(value.as_string())) return std::nullopt;
  try {
    return parse_expression(value.as_string());
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// basics('name') and steps('step').name in an expression.
struct Reference {
  std::string_view step, control;  ///< step empty: of basics
};

std::vector<Reference> references_in(const Expression& expression) {
  std::vector<Reference> out;
  each_part(expression, [&](const Expression& part) {
    if (const std::string_view control = named_in(part, "basics"); !control.empty()) out.push_back({"", control});
    if (part.kind != Expression::Kind::kProperty) return;
    if (const std::string_view step = named_in(part.parts[0], "steps"); !step.empty()) out.push_back({step, part.text});
  });
  return out;
}

/// The output that uses the control, or "".
std::string_view output_using(const Subject& subject, std::string_view control) {
  for (const auto& [name, value] : outputs_of(subject).as_object()) {
    const auto expression = expression_of(value);
    if (!expression) continue;
    for (const Reference& reference : references_in(*expression)) {
      if (same_word(reference.control, control)) return name;
    }
  }
  return {};
}

constexpr auto kGivenByPortal = std::to_array<std::string_view>(
    {"applicationResourceName", "jitAccessPolicy", "managedIdentity", "managedResourceGroupId"});

// A function that can give the type; texts are not looked at.
bool may_give(std::string_view type, const Expression& expression) {
  constexpr auto kInts =
      std::to_array<std::string_view>({"int", "min", "max", "div", "add", "mod", "mul", "sub", "copyIndex", "length"});
  constexpr auto kBools =
      std::to_array<std::string_view>({"equals", "less", "lessOrEquals", "greater", "greaterOrEquals", "and", "or",
                                       "not", "true", "false", "contains", "empty", "bool"});
  const auto is = [&](std::string_view function) { return is_call(expression, function); };
  if (same_word(type, "int")) return std::ranges::any_of(kInts, is);
  if (same_word(type, "bool")) return std::ranges::any_of(kBools, is);
  return true;
}

void check_outputs(const Subject& subject, Report& report) {
  constexpr std::string_view kRule = "Outputs-Must-Be-Present-In-Template-Parameters";
  if (reach(subject.ui, {"parameters", "outputs"}) == nullptr)
    report.add(kRule, kCreateUi, "/parameters", "the form gives nothing out");
  for (const auto& [name, value] : outputs_of(subject).as_object()) {
    const std::string at = pointer_to("/parameters/outputs", name);
    if (std::ranges::any_of(kGivenByPortal, [&](std::string_view given) { return same_word(given, name); })) continue;
    const Json* parameter = subject.parameter(name);
    const auto expression = expression_of(value);
    if (parameter == nullptr) {
      report.add(kRule, kCreateUi, at, fmt::format("the template has no parameter {}", name));
    } else if (expression ? !may_give(text_of(*parameter, "type"), *expression)
                          : value.is_string() && (same_word(text_of(*parameter, "type"), "int") ||
                                                  same_word(text_of(*parameter, "type"), "bool"))) {
      report.add(kRule, kCreateUi, at, fmt::format("{} is no {}", name, text_of(*parameter, "type")));
    }
    if (!expression) continue;
    const Json* steps = reach(subject.ui, {"parameters", "steps"});
    for (const Reference& reference : references_in(*expression)) {
      const Json* step = reference.step.empty() ? nullptr : named(steps, reference.step);
      const Json* controls = reference.step.empty() ? reach(subject.ui, {"parameters", "basics"})
                             : step == nullptr      ? nullptr
                                                    : step->find("elements");
      if (!reference.step.empty() && step == nullptr) {
        report.add("Controls-In-Outputs-Must-Exist", kCreateUi, at, fmt::format("there is no step {}", reference.step));
      } else if (named(controls, reference.control) == nullptr) {
        report.add("Controls-In-Outputs-Must-Exist", kCreateUi, at,
                   fmt::format("there is no control {}", reference.control));
      }
    }
  }
  for (const auto& [name, declaration] : subject.section("parameters").as_object()) {
    const Json& outputs = outputs_of(subject);
    const bool given = std::ranges::any_of(outputs.as_object(),
                                           [&](const Json::Member& output) { return same_word(output.first, name); });
    if (declaration.find("defaultValue") == nullptr && !given) {
      report.add("Parameters-Without-Default-Must-Exist-In-CreateUIDefinition", kMainTemplate,
                 pointer_to("/parameters", name), fmt::format("nobody gives a value to {}", name));
    }
  }
}

std::string plain(const Json& value) {
  return value.is_string() ? value.as_string() : value.dump();
}

void check_allowed(const std::string& at, const Json& allowed, std::string_view output, const Subject& subject,
                   Report& report) {
  const Json* parameter = subject.parameter(output);
  if (parameter == nullptr) return;  // Outputs-Must-Be-Present-In-Template-Parameters says so
  const Json* permitted = parameter->find("allowedValues");
  if (permitted == nullptr || !permitted->is_array() || !allowed.is_array()) return;
  for (std::size_t i = 0; i < allowed.as_array().size(); ++i) {
    const Json& item = allowed.as_array()[i];
    const std::string value = plain(item.find("value") != nullptr ? *item.find("value") : item);
    if (std::ranges::none_of(permitted->as_array(), [&](const Json& one) { return plain(one) == value; })) {
      report.add("Allowed-Values-Should-Actually-Be-Allowed", kCreateUi, pointer_to(at, std::to_string(i)),
                 fmt::format("the template does not take {} for {}", value, output));
    }
  }
}

void check_size(const std::string& at, const Json& control, const Subject& subject, Report& report) {
  constexpr std::string_view kRule = "VMSizes-Must-Match-Template";
  const std::string_view output = output_using(subject, text_of(control, "name"));
  if (output.empty()) {
    report.add(kRule, kCreateUi, at, "the size that was chosen is not given out");
    return;
  }
  const Json* parameter = subject.parameter(output);
  const Json* sizes = reach(control, {"constraints", "allowedSizes"});
  if (parameter == nullptr || sizes == nullptr || !sizes->is_array() || sizes->as_array().empty()) return;
  const std::string_view otherwise = text_of(*parameter, "defaultValue");
  const auto is_size = [](std::string_view size) {
    return [size](const Json& one) { return one.is_string() && same_word(one.as_string(), size); };
  };
  if (!otherwise.empty() && std::ranges::none_of(sizes->as_array(), is_size(otherwise))) {
    report.add(kRule, kCreateUi, at + "/constraints/allowedSizes",
               fmt::format("{}, the template's default, cannot be chosen", otherwise));
  }
  const Json* permitted = parameter->find("allowedValues");
  if (permitted == nullptr || !permitted->is_array()) return;
  for (std::size_t i = 0; i < sizes->as_array().size(); ++i) {
    const std::string size = plain(sizes->as_array()[i]);
    if (std::ranges::none_of(permitted->as_array(), is_size(size))) {
      report.add(kRule, kCreateUi, pointer_to(at + "/constraints/allowedSizes", std::to_string(i)),
                 fmt::format("the template does not take {}", size));
    }
  }
}

void check_password(const std::string& at, const Json& control, const Subject& subject, Report& report) {
  constexpr std::string_view kRule = "Password-Textboxes-Must-Be-Used-For-Password-Parameters";
  const std::string_view output = output_using(subject, text_of(control, "name"));
  const Json* parameter = output.empty() ? nullptr : subject.parameter(output);
  if (output.empty()) {
    report.add(kRule, kCreateUi, at, "what is entered is not given out");
  } else if (parameter != nullptr && !is_secure(*parameter)) {
    report.add(kRule, kCreateUi, at, fmt::format("{} is kept in clear text by the template", output));
  }
}

}  // namespace

void check_ui_outputs(const Subject& subject, Report& report) {
  check_outputs(subject, report);
  each_below(subject.ui, "",
             [&](const std::string& pointer, std::string_view name, const Json& value, const Json& parent) {
               const std::string at = pointer.substr(0, pointer.rfind('/'));
               if (name == "type" && value.is_string()) {
                 if (same_word(value.as_string(), "Microsoft.Compute.SizeSelector"))
                   check_size(at, parent, subject, report);
                 if (same_word(value.as_string(), "Microsoft.Common.PasswordBox"))
                   check_password(at, parent, subject, report);
                 const Json* allowed = reach(parent, {"constraints", "allowedValues"});
                 if (allowed != nullptr) {
                   const std::string_view output = output_using(subject, text_of(parent, "name"));
                   if (!output.empty())
                     check_allowed(at + "/constraints/allowedValues", *allowed, output, subject, report);
                 }
               }
               if (name == "allowedValues" && pointer.starts_with("/parameters/config/basics/location/"))
                 check_allowed(pointer, value, "location", subject, report);
             });
}

}  // namespace tb::azure

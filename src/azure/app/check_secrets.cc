// Rules that keep secrets out of outputs, histories and clear text.
#include <fmt/format.h>

#include <algorithm>

#include "azure/app/subject.h"

namespace tb::azure {
namespace {

// "" if `expression` gives no secret; else what it gives.
std::string secret_in(const Subject& subject, const Expression& expression) {
  std::string out;
  subject.follow(expression, [&](const Expression& part) {
    if (is_list_call(part)) out = fmt::format("what {}() gives", part.text);
    const std::string_view name = named_in(part, "parameters");
    const Json* declaration = name.empty() ? nullptr : subject.parameter(name);
    if (declaration != nullptr && is_secure(*declaration)) out = fmt::format("the secure parameter {}", name);
  });
  return out;
}

void check_outputs(const Subject& subject, Report& report) {
  constexpr std::string_view kRule = "Outputs-Must-Not-Contain-Secrets";
  for (const auto& [name, output] : subject.section("outputs").as_object()) {
    if (has_word(name, "password"))
      report.add(kRule, kMainTemplate, pointer_to("/outputs", name),
                 fmt::format("the output {} is named after a secret", name));
  }
  for (const Place& place : subject.expressions) {
    if (!place.pointer.starts_with("/outputs/")) continue;
    const std::string secret = secret_in(subject, place.expression);
    if (!secret.empty()) report.add(kRule, kMainTemplate, place.pointer, fmt::format("an output has {}", secret));
  }
}

bool is_new_guid(std::string_view text) {
  if (!is_expression(text)) return false;
  try {
    const Expression expression = parse_expression(text);
    return is_call(expression, "newGuid") && expression.parts.empty();
  } catch (const Error&) {
    return false;
  }
}

void check_parameters(const Subject& subject, Report& report) {
  for (const auto& [name, declaration] : subject.section("parameters").as_object()) {
    const std::string at = pointer_to("/parameters", name);
    const Json* otherwise = declaration.find("defaultValue");
    const bool is_blank = otherwise == nullptr || (otherwise->is_string() && otherwise->as_string().empty()) ||
                          (otherwise->is_object() && otherwise->as_object().empty());
    if (is_secure(declaration) && !is_blank && !is_new_guid(text_of(declaration, "defaultValue"))) {
      report.add("Secure-String-Parameters-Cannot-Have-Default", kMainTemplate, at,
                 fmt::format("the secret {} has a default that all can read", name));
    }
    const bool secret_name = has_word(name, "password") || has_word(name, "accountkey") || has_word(name, "secret");
    const bool only_about_one =
        has_word(name, "secret") && (has_word(name, "permission") || has_word(name, "version") ||
                                     has_word(name, "url") || has_word(name, "uri") || has_word(name, "name"));
    if (secret_name && !only_about_one && !is_secure(declaration)) {
      report.add("Password-params-must-be-secure", kMainTemplate, at,
                 fmt::format("{} is named after a secret and is kept in clear text", name));
    }
  }
}

void check_commands(const Subject& subject, Report& report) {
  for (const Place& place : subject.expressions) {
    if (!place.pointer.contains("/settings/") || !place.pointer.ends_with("/commandToExecute")) continue;
    const std::string secret = secret_in(subject, place.expression);
    if (!secret.empty()) {
      report.add("CommandToExecute-Must-Use-ProtectedSettings-For-Secrets", kMainTemplate, place.pointer,
                 fmt::format("a command in clear settings has {}", secret));
    }
  }
}

void check_literals(const Subject& subject, Report& report) {
  each_below(subject.main, "", [&](const std::string& pointer, std::string_view name, const Json& value, const Json&) {
    if (!pointer.starts_with("/resources/") && !pointer.starts_with("/variables/")) return;
    if (!value.is_string() || is_expression(value.as_string()) || value.as_string().empty()) return;
    if (same_word(name, "adminUsername"))
      report.add("adminUsername-Should-Not-Be-A-Literal", kMainTemplate, pointer,
                 "the administrator's name is written out");
    if (same_word(name, "adminPassword"))
      report.add("adminPassword-Should-Not-Be-A-Literal", kMainTemplate, pointer,
                 "the administrator's password is written out");
  });
}

// A nested deployment of outer scope is sent, and kept, with its secrets filled in.
void check_nested(const Subject& subject, Report& report) {
  each_resource(subject.main, [&](const std::string& at, const Json& resource) {
    if (!same_word(text_of(resource, "type"), "Microsoft.Resources/deployments")) return;
    const Json* options = reach(resource, {"properties", "expressionEvaluationOptions"});
    if (options != nullptr && same_word(text_of(*options, "scope"), "inner")) return;
    for (const Place& place : subject.expressions) {
      if (!place.pointer.starts_with(at + "/properties/template/")) continue;
      const std::string secret = secret_in(subject, place.expression);
      if (!secret.empty())
        report.add("Secure-Params-In-Nested-Deployments", kMainTemplate, place.pointer,
                   fmt::format("a nested deployment of outer scope has {}", secret));
    }
  });
}

}  // namespace

void check_secrets(const Subject& subject, Report& report) {
  check_outputs(subject, report);
  check_parameters(subject, report);
  check_commands(subject, report);
  check_literals(subject, report);
  check_nested(subject, report);
}

}  // namespace tb::azure

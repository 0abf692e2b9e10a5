// Rules on the template as a whole: its parameters, variables, locations and addresses.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "azure/app/subject.h"

namespace tb::azure {
namespace {

// Addresses that differ between Azure's clouds: environment() has them.
constexpr auto kCloudHosts = std::to_array<std::string_view>(
    {"management.azure.com", "login.microsoftonline.com", "login.windows.net", "graph.windows.net",
     "graph.microsoft.com", "gallery.azure.com", "core.windows.net", "database.windows.net", "vault.azure.net",
     "datalake.azure.net", "azuredatalakestore.net", "azuredatalakeanalytics.net", "rest.media.azure.net",
     "batch.azure.com", "portal.azure.com"});

void check_parameters(const Subject& subject, Report& report) {
  const Json* parameters = subject.main.find("parameters");
  if (parameters == nullptr || !parameters->is_object()) {
    report.add("Parameters-Property-Must-Exist", kMainTemplate, "", "the template has no parameters member");
  }
  for (const auto& [name, declaration] : subject.section("parameters").as_object()) {
    const std::string at = pointer_to("/parameters", name);
    for (std::string_view bound : {"minValue", "maxValue", "minLength", "maxLength"}) {
      const Json* value = declaration.find(bound);
      if (value != nullptr && !value->is_number()) {
        report.add("Min-And-Max-Value-Are-Numbers", kMainTemplate, pointer_to(at, bound),
                   fmt::format("{} of {} is no number", bound, name));
      }
    }
    if (!subject.uses("parameters", name))
      report.add("Parameters-Must-Be-Referenced", kMainTemplate, at,
                 fmt::format("the parameter {} is never used", name));
  }
}

// A call of variables() with a name that is computed may mean any of them.
bool has_computed_variable(const Subject& subject) {
  return std::ranges::any_of(subject.expressions, [](const Place& place) {
    bool found = false;
    each_part(place.expression, [&](const Expression& part) {
      found |= is_call(part, "variables") && (part.parts.empty() || part.parts[0].kind != Expression::Kind::kString);
    });
    return found;
  });
}

void check_variables(const Subject& subject, Report& report) {
  const bool any_may_be_meant = has_computed_variable(subject);
  for (const auto& [name, value] : subject.section("variables").as_object()) {
    if (name == "copy" || any_may_be_meant) continue;
    if (!subject.uses("variables", name)) {
      report.add("Variables-Must-Be-Referenced", kMainTemplate, pointer_to("/variables", name),
                 fmt::format("the variable {} is never used", name));
    }
  }
  for (const Place& place : subject.expressions) {
    each_part(place.expression, [&](const Expression& part) {
      if (is_call(part, "variables") && !part.parts.empty() && is_call(part.parts[0], "concat")) {
        report.add("Dynamic-Variable-References-Should-Not-Use-Concat", kMainTemplate, place.pointer,
                   "a variable's name is put together by concat()");
      }
    });
  }
}

void check_names(const Subject& subject, Report& report) {
  for (std::string_view section : {"parameters", "variables"}) {
    for (const auto& [name, value] : subject.section(section).as_object()) {
      if (name.starts_with('[')) {
        report.add("Expressions-May-Not-Be-Used-As-Parameter-Or-Variable-Names", kMainTemplate,
                   pointer_to("/" + std::string(section), name), "a name is an expression");
      }
    }
  }
}

bool is_group_location(const Expression& part) {
  return part.kind == Expression::Kind::kProperty && part.text == "location" &&
         (is_call(part.parts[0], "resourceGroup") || is_call(part.parts[0], "deployment"));
}

void check_location(const Subject& subject, Report& report) {
  constexpr std::string_view kRule = "Location-Should-Not-Be-Hardcoded";
  if (const Json* location = subject.parameter("location")) {
    if (!same_word(text_of(*location, "type"), "string")) {
      report.add(kRule, kMainTemplate, "/parameters/location", "the parameter location is no string");
    }
    const Json* otherwise = location->find("defaultValue");
    const std::string_view text = text_of(*location, "defaultValue");
    if (otherwise != nullptr && text != "[resourceGroup().location]" && text != "[deployment().location]" &&
        text != "global") {
      report.add(kRule, kMainTemplate, "/parameters/location/defaultValue",
                 "the default of the parameter location is one region");
    }
  }
  for (const Place& place : subject.expressions) {
    if (place.pointer.starts_with("/parameters/") || place.pointer.contains("/properties/template/")) continue;
    each_part(place.expression, [&](const Expression& part) {
      if (is_group_location(part))
        report.add(kRule, kMainTemplate, place.pointer,
                   "the resource group's location is used in place of the parameter");
    });
  }
}

void check_addresses(const Subject& subject, Report& report) {
  const auto look = [&](const std::string& pointer, std::string_view text) {
    if (text.starts_with("https://schema.management.azure.com/")) return;
    for (std::string_view host : kCloudHosts) {
      if (!has_word(text, host)) continue;
      report.add("DeploymentTemplate-Must-Not-Contain-Hardcoded-Uri", kMainTemplate, pointer,
                 fmt::format("{} differs between clouds", host));
      return;
    }
  };
  each_below(subject.main, "", [&](const std::string& pointer, std::string_view name, const Json& value, const Json&) {
    look(pointer, name);
    if (value.is_string()) look(pointer, value.as_string());
    const bool is_address = name.size() >= 3 && (has_word(name.substr(name.size() - 3), "uri") ||
                                                 has_word(name.substr(name.size() - 3), "url"));
    if (!is_address || !value.is_string() || !is_expression(value.as_string())) return;
    const Expression* expression = subject.at(pointer);
    if (expression != nullptr && (is_call(*expression, "concat") || is_call(*expression, "format"))) {
      report.add("URIs-Should-Be-Properly-Constructed", kMainTemplate, pointer,
                 fmt::format("{} is put together by {}()", name, expression->text));
    }
  });
}

void check_artifacts(const Subject& subject, Report& report) {
  constexpr std::string_view kRule = "artifacts-parameter", kAt = "/parameters/_artifactsLocation";
  const Json* location = subject.section("parameters").find("_artifactsLocation");
  const Json* token = subject.section("parameters").find("_artifactsLocationSasToken");
  if (location == nullptr) return;
  if (!same_word(text_of(*location, "type"), "string"))
    report.add(kRule, kMainTemplate, std::string(kAt), "_artifactsLocation is no string");
  if (text_of(*location, "defaultValue") != "[deployment().properties.templateLink.uri]") {
    report.add(kRule, kMainTemplate, std::string(kAt), "_artifactsLocation has not the default that it must have");
  }
  if (token == nullptr) {
    report.add(kRule, kMainTemplate, std::string(kAt), "_artifactsLocationSasToken is missing");
  } else if (!is_secure(*token) || token->find("defaultValue") == nullptr || !text_of(*token, "defaultValue").empty()) {
    report.add(kRule, kMainTemplate, std::string(kAt) + "SasToken",
               "_artifactsLocationSasToken is no secureString that is empty by default");
  }
}

bool may_be_blank(std::string_view name) {
  constexpr auto kBlank = std::to_array<std::string_view>(
      {"resources", "outputs", "variables", "parameters", "functions", "properties", "defaultValue", "accessPolicies",
       "value", "promotionCode", "inputs", "notEquals", "clientId", "allowedCallerIpAddresses"});
  return std::ranges::find(kBlank, name) != kBlank.end() || name.starts_with('[') ||
         name.starts_with("/subscriptions/");
}

void check_blanks(const Subject& subject, Report& report) {
  each_below(
      subject.main, "", [&](const std::string& pointer, std::string_view name, const Json& value, const Json& parent) {
        const bool blank = value.is_null() || (value.is_string() && value.as_string().empty()) ||
                           (value.is_array() && value.as_array().empty()) ||
                           (value.is_object() && value.as_object().empty());
        if (blank && parent.is_object() && !may_be_blank(name)) {
          report.add("Template-Should-Not-Contain-Blanks", kMainTemplate, pointer, fmt::format("{} is empty", name));
        }
      });
}

void check_functions(const Subject& subject, Report& report) {
  for (const Place& place : subject.expressions) {
    each_part(place.expression, [&](const Expression& part) {
      if (is_call(part, "reference") && part.parts.size() > 1 && has_word(part.parts[1].text, "-preview")) {
        report.add("Reference-Function-Must-Not-Use-Preview-ApiVersion", kMainTemplate, place.pointer,
                   "reference() asks a preview version");
      }
      const bool version = part.kind == Expression::Kind::kProperty && same_word(part.text, "apiVersions");
      if (version && is_call(part.parts[0], "providers")) {
        report.add("providers_apiVersions-Is-Not-Permitted", kMainTemplate, place.pointer,
                   "the API version changes by itself");
      }
    });
    const Expression& whole = place.expression;
    const bool names_id = whole.text.size() >= 10 && has_word(whole.text, "resourceId");
    if (whole.kind != Expression::Kind::kCall || whole.parts.empty()) continue;
    const Expression& first = whole.parts[0];
    const bool own = first.kind == Expression::Kind::kProperty &&
                     (is_call(first.parts[0], "resourceGroup") || is_call(first.parts[0], "subscription"));
    if ((names_id && (own || is_call(first, "concat"))) ||
        ((is_call(whole, "reference") || is_list_call(whole)) && is_call(first, "concat"))) {
      report.add("ResourceIds-should-not-contain", kMainTemplate, place.pointer,
                 fmt::format("{}() has an argument that it does not need", whole.text));
    }
  }
}

}  // namespace

void check_template(const Subject& subject, Report& report) {
  check_parameters(subject, report);
  check_variables(subject, report);
  check_names(subject, report);
  check_location(subject, report);
  check_addresses(subject, report);
  check_artifacts(subject, report);
  check_blanks(subject, report);
  check_functions(subject, report);
}

}  // namespace tb::azure

// Rules on single resources: machines, identities, nested deployments, dependencies.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "azure/app/subject.h"

namespace tb::azure {
namespace {

constexpr int kMaxApiAgeDays = 730;

bool asks_parameter(const Subject& subject, std::string_view text) {
  if (!is_expression(text)) return false;
  try {
    bool found = false;
    subject.follow(parse_expression(text), [&](const Expression& part) { found |= is_call(part, "parameters"); });
    return found;
  } catch (const Error&) {
    return true;  // Expressions-Must-Resolve says so
  }
}

void check_machine(const Subject& subject, const std::string& at, const Json& resource, Report& report) {
  each_below(resource, at, [&](const std::string& pointer, std::string_view name, const Json& value, const Json&) {
    if (same_word(name, "vmSize") && value.is_string() && !asks_parameter(subject, value.as_string())) {
      report.add("VM-Size-Should-Be-A-Parameter", kMainTemplate, pointer, "the size of a machine is no parameter");
    }
    if (!same_word(name, "imageReference") || !value.is_object()) return;
    for (std::string_view member : {"offer", "sku", "version"}) {
      if (has_word(text_of(value, member), "-preview")) {
        report.add("Virtual-Machines-Should-Not-Be-Preview", kMainTemplate, pointer_to(pointer, member),
                   "the image is a preview");
      }
    }
    const std::string_view version = text_of(value, "version");
    if (!version.empty() && !is_expression(version) && version != "latest") {
      report.add("VM-Images-Should-Use-Latest-Version", kMainTemplate, pointer_to(pointer, "version"),
                 fmt::format("the image stays at {}", version));
    }
  });
}

bool may_be_an_id(const Expression& expression) {
  constexpr auto kGiveIds = std::to_array<std::string_view>(
      {"extensionResourceId", "resourceId", "subscriptionResourceId", "tenantResourceId", "managementGroupResourceId",
       "if", "parameters", "variables", "reference", "subscription", "guid"});
  const Expression* root = &expression;
  while (root->kind == Expression::Kind::kProperty || root->kind == Expression::Kind::kIndex) root = &root->parts[0];
  return std::ranges::any_of(kGiveIds, [&](std::string_view name) { return is_call(*root, name); });
}

void check_ids(const Subject& subject, const std::string& at, const Json& resource, Report& report) {
  constexpr auto kNoIds = std::to_array<std::string_view>({"appId",
                                                           "clientId",
                                                           "DataTypeId",
                                                           "defaultMenuItemId",
                                                           "keyVaultSecretId",
                                                           "keyId",
                                                           "objectId",
                                                           "menuId",
                                                           "policyDefinitionReferenceId",
                                                           "servicePrincipalClientId",
                                                           "StartingDeviceID",
                                                           "subscriptionId",
                                                           "SyntheticMonitorId",
                                                           "targetProtectionContainerId",
                                                           "targetWorkerSizeId",
                                                           "tenantId",
                                                           "timezoneId",
                                                           "vlanId",
                                                           "workerSizeId",
                                                           "principalId"});
  each_below(resource, at, [&](const std::string& pointer, std::string_view name, const Json& value, const Json&) {
    if (name.size() < 2 || !same_word(name.substr(name.size() - 2), "id") || !value.is_string()) return;
    if (std::ranges::any_of(kNoIds, [&](std::string_view other) { return same_word(other, name); })) return;
    if (pointer.contains("/tags/") || pointer.contains("/metadata/") || pointer.contains("/template/")) return;
    const Expression* there = subject.at(pointer);
    if (there == nullptr ? !is_expression(value.as_string()) : !may_be_an_id(*there)) {
      report.add("IDs-Should-Be-Derived-From-ResourceIDs", kMainTemplate, pointer,
                 fmt::format("{} is written out", name));
    }
  });
}

void check_dependencies(const std::string& at, const Json& resource, Report& report) {
  const Json* on = resource.find("dependsOn");
  if (on == nullptr) return;
  const std::string where = pointer_to(at, "dependsOn");
  const auto look = [&](const std::string& pointer, const Json& value) {
    if (!value.is_string() || !is_expression(value.as_string())) return;
    try {
      const Expression expression = parse_expression(value.as_string());
      each_part(expression, [&](const Expression& part) {
        if (is_call(part, "if"))
          report.add("DependsOn-Must-Not-Be-Conditional", kMainTemplate, pointer, "a dependency is chosen by if()");
      });
      if (is_call(expression, "concat"))
        report.add("DependsOn-Best-Practices", kMainTemplate, pointer, "a dependency is put together by concat()");
    } catch (const Error&) {  // Expressions-Must-Resolve says so
    }
  };
  look(where, *on);
  each_below(*on, where, [&](const std::string& pointer, std::string_view, const Json& value, const Json&) {
    look(pointer, value);
  });
}

void check_nested(const Subject& subject, const std::string& at, const Json& resource, Report& report) {
  const Json* debug = resource.find("debugSetting");
  if (const Json* inner = reach(resource, {"properties", "debugSetting"})) debug = inner;
  if (debug != nullptr) {
    const std::string_view detail =
        debug->is_string() ? std::string_view(debug->as_string()) : text_of(*debug, "detailLevel");
    const std::string_view log = text_of(*debug, "logDetail");
    if ((!detail.empty() && !same_word(detail, "none")) || (!log.empty() && !same_word(log, "none"))) {
      report.add("Deployment-Resources-Must-Not-Be-Debug", kMainTemplate, at,
                 "a nested deployment keeps what it sends and gets");
    }
  }
  const Json* uri = reach(resource, {"properties", "templateLink", "uri"});
  if (uri != nullptr && uri->is_string()) {
    bool location = false, token = false;
    const Expression* there = subject.at(at + "/properties/templateLink/uri");
    if (there != nullptr) {
      subject.follow(*there, [&](const Expression& part) {
        location |= same_word(named_in(part, "parameters"), "_artifactsLocation");
        token |= same_word(named_in(part, "parameters"), "_artifactsLocationSasToken");
      });
    }
    if (!location || !token) {
      report.add("External-Links-Must-Reference-ArtifactsLocation", kMainTemplate, at + "/properties/templateLink/uri",
                 "a linked template lies outside of the package");
    }
  }
  const Json* passed = reach(resource, {"properties", "parameters"});
  const Json* options = reach(resource, {"properties", "expressionEvaluationOptions"});
  const bool inner_scope = options != nullptr && same_word(text_of(*options, "scope"), "inner");
  if (passed == nullptr || !passed->is_object() || !inner_scope) return;
  for (const auto& [name, given] : passed->as_object()) {
    const Json* inner = reach(resource, {"properties", "template", "parameters", name, "type"});
    const std::string_view text = text_of(given, "value");
    if (inner == nullptr || !inner->is_string() || !is_expression(text)) continue;
    const Expression* there = subject.at(pointer_to(at + "/properties/parameters", name) + "/value");
    const std::string_view outer_name = there == nullptr ? std::string_view() : named_in(*there, "parameters");
    const Json* outer = outer_name.empty() ? nullptr : subject.parameter(outer_name);
    if (outer != nullptr && !same_word(text_of(*outer, "type"), inner->as_string())) {
      report.add("Parameter-Types-Should-Be-Consistent", kMainTemplate,
                 pointer_to(at + "/properties/template/parameters", name),
                 fmt::format("{} is {} outside and {} inside", name, text_of(*outer, "type"), inner->as_string()));
    }
  }
}

std::optional<std::int64_t> days_of(std::string_view date) {
  const auto number = [&](std::size_t at, std::size_t count) -> std::int64_t {
    std::int64_t out = -1;
    const char* end = date.data() + at + count;
    const auto [stop, fault] = std::from_chars(date.data() + at, end, out);
    return fault == std::errc() && stop == end ? out : -1;
  };
  if (date.size() < 10 || date[4] != '-' || date[7] != '-') return std::nullopt;
  std::int64_t year = number(0, 4);
  const std::int64_t month = number(5, 2), day = number(8, 2);
  if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31) return std::nullopt;
  // Days since 0000-03-01 of the Gregorian calendar, March being the year's first month.
  if (month < 3) --year;
  const std::int64_t shifted = (month + 9) % 12;
  return year * 365 + year / 4 - year / 100 + year / 400 + (shifted * 306 + 5) / 10 + day - 1;
}

void check_version(const Subject& subject, const std::string& at, const Json& resource, Report& report) {
  const std::string_view version = text_of(resource, "apiVersion");
  if (version.empty() || is_expression(version)) return;
  const auto then = days_of(version), now = days_of(subject.today);
  const bool preview = version.size() > 10;
  const bool old = then && now && *now - *then > kMaxApiAgeDays;
  if (preview || old) {
    report.add("apiVersions-Should-Be-Recent", kMainTemplate, pointer_to(at, "apiVersion"),
               fmt::format("{} is {}", version, preview ? "a preview" : "over two years old"));
  }
}

// resourceId('type', …) without a resource group means a resource of this template that is deployed in any case.
void check_ambiguous(const Subject& subject, Report& report) {
  std::vector<std::string> types;
  each_resource(subject.main, [&](const std::string&, const Json& resource) {
    if (resource.find("condition") == nullptr) types.emplace_back(text_of(resource, "type"));
  });
  for (const Place& place : subject.expressions) {
    if (place.pointer.contains("/properties/template/")) continue;
    each_part(place.expression, [&](const Expression& part) {
      if (!is_call(part, "resourceId") || part.parts.empty() || part.parts[0].kind != Expression::Kind::kString) return;
      const std::string& type = part.parts[0].text;
      if (!type.contains('/')) return;
      const bool known = std::ranges::any_of(types, [&](const std::string& is) { return same_word(is, type); });
      if (type.ends_with('/') || !known) {
        report.add("Resources-Should-Not-Be-Ambiguous", kMainTemplate, place.pointer,
                   fmt::format("{} may be in another resource group, or not deployed", type));
      }
    });
  }
}

}  // namespace

void check_resources(const Subject& subject, Report& report) {
  each_resource(subject.main, [&](const std::string& at, const Json& resource) {
    const std::string_view location = text_of(resource, "location");
    if (!location.empty() && !is_expression(location) && !same_word(location, "global")) {
      report.add("Resources-Should-Have-Location", kMainTemplate, pointer_to(at, "location"),
                 fmt::format("the region {} is written out", location));
    }
    if (resource.find("properties") != nullptr)
      check_machine(subject, pointer_to(at, "properties"), *resource.find("properties"), report);
    check_ids(subject, at, resource, report);
    check_dependencies(at, resource, report);
    check_version(subject, at, resource, report);
    if (same_word(text_of(resource, "type"), "Microsoft.Resources/deployments"))
      check_nested(subject, at, resource, report);
    const Json* properties = resource.find("properties");
    if (properties != nullptr && has_word(text_of(*properties, "type"), "ManagedIdentityExtensionFor")) {
      report.add("ManagedIdentityExtension-must-not-be-used", kMainTemplate, at,
                 "the managed identity extension is retired");
    }
  });
  check_ambiguous(subject, report);
}

}  // namespace tb::azure

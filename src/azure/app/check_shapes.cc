// Shapes of the three documents: members, their types, and what is required, as their references say. Written from the
// published descriptions; the schemas themselves are not part of this program.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "azure/app/subject.h"

namespace tb::azure {
namespace {

enum class Is { kText, kObject, kArray, kAny };

struct Member {
  std::string_view name;
  Is is;
  bool required = false;
};

std::string_view word_for(Is is) {
  return is == Is::kText ? "text" : is == Is::kObject ? "an object" : "an array";
}

bool fits(const Json& value, Is is) {
  if (is == Is::kText) return value.is_string();
  if (is == Is::kObject) return value.is_object();
  return is == Is::kAny || value.is_array();
}

/// One document under one rule.
class Shape {
 public:
  Shape(std::string_view rule, std::string_view file, Report& report) : rule_(rule), file_(file), report_(report) {}

  void fault(const std::string& at, std::string message) { report_.add(rule_, file_, at, std::move(message)); }

  /// True if `value` is an object with these members and, unless `open`, no others.
  bool object(const std::string& at, const Json& value, std::initializer_list<Member> members, bool open = false) {
    if (!value.is_object()) {
      fault(at, "an object is expected here");
      return false;
    }
    for (const Member& member : members) {
      const Json* found = value.find(member.name);
      if (found == nullptr && member.required) fault(at, fmt::format("{} is missing", member.name));
      if (found != nullptr && !fits(*found, member.is))
        fault(pointer_to(at, member.name), fmt::format("{} must be {}", member.name, word_for(member.is)));
    }
    if (open) return true;
    for (const auto& [name, member] : value.as_object()) {
      if (std::ranges::find(members, name, &Member::name) == members.end())
        fault(pointer_to(at, name), fmt::format("{} is not known here", name));
    }
    return true;
  }

  void one_of(const std::string& at, const Json& object, std::string_view name,
              std::initializer_list<std::string_view> words, bool any_case = false) {
    const std::string_view is = text_of(object, name);
    if (object.find(name) == nullptr) return;
    const auto equal = [&](std::string_view word) { return any_case ? same_word(word, is) : word == is; };
    if (std::ranges::none_of(words, equal))
      fault(pointer_to(at, name), fmt::format("{} has not one of its values: {}", name, is));
  }

  void version(const std::string& at, const Json& object) {
    const std::string_view text = text_of(object, "contentVersion");
    const bool plain = std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
    if (!text.empty() && (!plain || std::ranges::count(text, '.') != 3 || text.contains("..") || text.front() == '.' ||
                          text.back() == '.')) {
      fault(pointer_to(at, "contentVersion"), "contentVersion has four numbers, as 1.0.0.0");
    }
  }

 private:
  std::string_view rule_, file_;
  Report& report_;
};

template <typename Each>
void each_item(const std::string& at, const Json* list, const Each& each) {
  if (list == nullptr || !list->is_array()) return;
  for (std::size_t i = 0; i < list->as_array().size(); ++i)
    each(pointer_to(at, std::to_string(i)), list->as_array()[i]);
}

void template_parameter(Shape& shape, const std::string& at, const Json& value) {
  if (!shape.object(at, value,
                    {{"type", Is::kText},
                     {"defaultValue", Is::kAny},
                     {"allowedValues", Is::kArray},
                     {"minValue", Is::kAny},
                     {"maxValue", Is::kAny},
                     {"minLength", Is::kAny},
                     {"maxLength", Is::kAny},
                     {"metadata", Is::kObject},
                     {"nullable", Is::kAny},
                     {"$ref", Is::kText},
                     {"items", Is::kAny},
                     {"properties", Is::kAny},
                     {"additionalProperties", Is::kAny},
                     {"prefixItems", Is::kAny},
                     {"discriminator", Is::kAny},
                     {"sealed", Is::kAny}})) {
    return;
  }
  if (value.find("type") == nullptr && value.find("$ref") == nullptr) shape.fault(at, "type is missing");
  shape.one_of(at, value, "type", {"string", "secureString", "int", "bool", "object", "secureObject", "array"}, true);
  const Json* allowed = value.find("allowedValues");
  if (allowed != nullptr && allowed->is_array() && allowed->as_array().empty())
    shape.fault(pointer_to(at, "allowedValues"), "nothing is allowed");
}

void main_template_shape(const Subject& subject, Report& report) {
  Shape shape("Template-Has-Known-Shape", kMainTemplate, report);
  const Json& main = subject.main;
  shape.object("", main,
               {{"$schema", Is::kText, true},
                {"contentVersion", Is::kText, true},
                {"languageVersion", Is::kText},
                {"apiProfile", Is::kText},
                {"metadata", Is::kObject},
                {"definitions", Is::kObject},
                {"parameters", Is::kAny},
                {"functions", Is::kArray},
                {"variables", Is::kObject},
                {"resources", Is::kAny, true},
                {"outputs", Is::kObject}});
  shape.version("", main);
  if (main.find("languageVersion") != nullptr && text_of(main, "languageVersion") != "1.0") {
    shape.fault("/languageVersion", "managed applications take language version 1.0 only");
  }
  const std::string_view schema = text_of(main, "$schema");
  if (!schema.empty() && schema != "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#" &&
      schema != "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#") {
    report.add("DeploymentTemplate-Schema-Is-Correct", kMainTemplate, "/$schema", "the schema is another one");
  }
  for (const auto& [name, value] : subject.section("parameters").as_object())
    template_parameter(shape, pointer_to("/parameters", name), value);
  for (const auto& [name, value] : subject.section("outputs").as_object()) {
    const std::string at = pointer_to("/outputs", name);
    shape.object(at, value,
                 {{"type", Is::kText, true},
                  {"value", Is::kAny},
                  {"condition", Is::kAny},
                  {"copy", Is::kObject},
                  {"metadata", Is::kObject}},
                 true);
    if (value.is_object() && value.find("value") == nullptr && value.find("copy") == nullptr)
      shape.fault(at, "value is missing");
  }
  const Json* resources = main.find("resources");
  if (resources != nullptr && !resources->is_array()) shape.fault("/resources", "resources must be an array");
  each_item("/resources", resources, [&](const std::string& at, const Json& value) {
    if (!shape.object(at, value,
                      {{"type", Is::kText, true},
                       {"apiVersion", Is::kText, true},
                       {"name", Is::kText, true},
                       {"location", Is::kText},
                       {"properties", Is::kAny},
                       {"dependsOn", Is::kAny},
                       {"resources", Is::kArray}},
                      true)) {
      return;
    }
    if (!text_of(value, "type").empty() && !text_of(value, "type").contains('/'))
      shape.fault(pointer_to(at, "type"), "a resource type has a slash");
  });
  struct Limit {
    std::string_view section;
    std::size_t most;
  };
  for (const Limit& limit : {Limit{"parameters", 256}, Limit{"variables", 512}, Limit{"outputs", 64}}) {
    if (subject.section(limit.section).as_object().size() > limit.most)
      shape.fault("/" + std::string(limit.section), fmt::format("more than {}", limit.most));
  }
}

void control_shape(Shape& shape, const std::string& at, const Json& control, std::set<std::string, std::less<>>& names,
                   int depth) {
  constexpr int kMaxDepth = 6;
  if (!shape.object(at, control,
                    {{"name", Is::kText, true},
                     {"type", Is::kText, true},
                     {"constraints", Is::kObject},
                     {"options", Is::kObject}},
                    true))
    return;
  if (!names.emplace(text_of(control, "name")).second)
    shape.fault(at, fmt::format("{} is there twice", text_of(control, "name")));
  const std::string_view type = text_of(control, "type");
  const auto is = [&](std::string_view name) { return same_word(type, name); };
  if (!type.starts_with("Microsoft.")) shape.fault(pointer_to(at, "type"), "there is no such control");
  const bool silent = is("Microsoft.Common.TextBlock") || is("Microsoft.Common.InfoBox") || type.contains("Api");
  if (control.find("label") == nullptr && !silent && !is("Microsoft.Compute.CredentialsCombo"))
    shape.fault(at, "label is missing");
  if (is("Microsoft.Common.PasswordBox")) {
    const Json* label = control.find("label");
    if (label != nullptr && (!label->is_object() || label->find("password") == nullptr))
      shape.fault(pointer_to(at, "label"), "the label of a password box has the member password");
  }
  if (is("Microsoft.Common.DropDown") || is("Microsoft.Common.OptionsGroup")) {
    const Json* allowed = reach(control, {"constraints", "allowedValues"});
    const bool computed = allowed != nullptr && allowed->is_string();
    if (!computed && (allowed == nullptr || !allowed->is_array() || allowed->as_array().empty()))
      shape.fault(at, "constraints.allowedValues has nothing to choose from");
    each_item(at + "/constraints/allowedValues", allowed, [&](const std::string& place, const Json& choice) {
      shape.object(place, choice, {{"label", Is::kText, true}, {"value", Is::kAny, true}, {"description", Is::kText}});
    });
  }
  if (is("Microsoft.Compute.SizeSelector")) {
    shape.object(at, control, {{"recommendedSizes", Is::kArray, true}, {"osPlatform", Is::kText, true}}, true);
    shape.one_of(at, control, "osPlatform", {"Windows", "Linux"});
    const Json* both = control.find("constraints");
    if (both != nullptr && both->find("allowedSizes") != nullptr && both->find("excludedSizes") != nullptr) {
      shape.fault(pointer_to(at, "constraints"), "allowedSizes and excludedSizes exclude each other");
    }
  }
  if (control.find("elements") != nullptr && depth < kMaxDepth) {
    each_item(pointer_to(at, "elements"), control.find("elements"), [&](const std::string& place, const Json& inner) {
      control_shape(shape, place, inner, names, depth + 1);
    });
  }
}

void ui_shape(const Subject& subject, Report& report) {
  Shape shape("CreateUIDefinition-Has-Known-Shape", kCreateUi, report);
  shape.object("", subject.ui,
               {{"$schema", Is::kAny}, {"handler", Is::kAny}, {"version", Is::kText, true}, {"parameters", Is::kAny}});
  shape.one_of("", subject.ui, "version", {"0.1.2-preview"});
  const Json* parameters = subject.ui.find("parameters");
  if (parameters == nullptr || !parameters->is_object()) return;
  shape.object("/parameters", *parameters,
               {{"config", Is::kObject},
                {"resourceTypes", Is::kArray},
                {"basics", Is::kArray, true},
                {"steps", Is::kArray, true},
                {"outputs", Is::kAny}});
  std::set<std::string, std::less<>> names, steps;
  each_item("/parameters/basics", parameters->find("basics"),
            [&](const std::string& at, const Json& control) { control_shape(shape, at, control, names, 0); });
  each_item("/parameters/steps", parameters->find("steps"), [&](const std::string& at, const Json& step) {
    if (!shape.object(at, step,
                      {{"name", Is::kText, true},
                       {"label", Is::kText, true},
                       {"subLabel", Is::kObject},
                       {"bladeTitle", Is::kText},
                       {"bladeSubtitle", Is::kText},
                       {"elements", Is::kArray, true}}))
      return;
    if (!steps.emplace(text_of(step, "name")).second)
      shape.fault(at, fmt::format("the step {} is there twice", text_of(step, "name")));
    std::set<std::string, std::less<>> in_step;
    each_item(pointer_to(at, "elements"), step.find("elements"),
              [&](const std::string& place, const Json& control) { control_shape(shape, place, control, in_step, 0); });
  });
}

void view_shape(const Subject& subject, Report& report) {
  Shape shape("ViewDefinition-Has-Known-Shape", kView, report);
  shape.object("", subject.view, {{"$schema", Is::kText}, {"contentVersion", Is::kText}, {"views", Is::kArray, true}});
  shape.version("", subject.view);
  each_item("/views", subject.view.find("views"), [&](const std::string& at, const Json& view) {
    if (!shape.object(at, view, {{"kind", Is::kText, true}, {"properties", Is::kObject}}, true)) return;
    shape.one_of(at, view, "kind", {"Overview", "Metrics", "CustomResources", "Associations"});
    const Json* properties = view.find("properties");
    const std::string inner = pointer_to(at, "properties");
    if (text_of(view, "kind") == "Metrics" &&
        (properties == nullptr || !shape.object(inner, *properties, {{"charts", Is::kArray, true}}, true)))
      shape.fault(at, "properties are missing");
    if (properties == nullptr) return;
    each_item(pointer_to(inner, "charts"), properties->find("charts"),
              [&](const std::string& place, const Json& chart) {
                if (!shape.object(
                        place, chart,
                        {{"displayName", Is::kText, true}, {"chartType", Is::kText}, {"metrics", Is::kArray, true}}))
                  return;
                shape.one_of(place, chart, "chartType", {"Bar", "Line", "Area", "Scatter"});
                each_item(pointer_to(place, "metrics"), chart.find("metrics"),
                          [&](const std::string& metric_at, const Json& metric) {
                            if (!shape.object(metric_at, metric,
                                              {{"name", Is::kText, true},
                                               {"aggregationType", Is::kText, true},
                                               {"resourceType", Is::kText, true},
                                               {"namespace", Is::kText},
                                               {"resourceTagFilter", Is::kArray}}))
                              return;
                            shape.one_of(metric_at, metric, "aggregationType",
                                         {"none", "sum", "min", "max", "avg", "unique", "percentile", "count"});
                          });
              });
    each_item(pointer_to(inner, "commands"), properties->find("commands"),
              [&](const std::string& place, const Json& command) {
                shape.object(place, command,
                             {{"displayName", Is::kText, true},
                              {"path", Is::kText, true},
                              {"icon", Is::kText},
                              {"createUIDefinition", Is::kObject}});
              });
  });
}

}  // namespace

void check_shapes(const Subject& subject, Report& report) {
  if (!subject.main.is_null()) main_template_shape(subject, report);
  if (!subject.ui.is_null()) ui_shape(subject, report);
  if (!subject.view.is_null()) view_shape(subject, report);
}

}  // namespace tb::azure

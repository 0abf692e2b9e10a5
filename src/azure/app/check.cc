#include "azure/app/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "azure/app/evaluate.h"
#include "azure/app/subject.h"

namespace tb::azure {
namespace {

constexpr JsonLimits kLimits{.bytes = kMaxFileBytes, .depth = 64, .values = std::size_t{50'000}};
constexpr std::size_t kMaxFindings = 500;

// Sorted by id; one line each.
constexpr auto kRules = std::to_array<RuleInfo>({
    {"Allowed-Values-Should-Actually-Be-Allowed", true, false,
     "let the form offer what the template's parameter allows"},
    {"CommandToExecute-Must-Use-ProtectedSettings-For-Secrets", true, false, "move it into protectedSettings"},
    {"Controls-In-Outputs-Must-Exist", true, false, "name a control that the form has"},
    {"CreateUIDefinition-Has-Known-Shape", true, true,
     "see the createUiDefinition reference of Azure managed applications"},
    {"CreateUIDefinition-Must-Have-Parameters", true, false, "add parameters with basics, steps and outputs"},
    {"CreateUIDefinition-Must-Not-Have-Blanks", false, false, "leave the member out"},
    {"CreateUIDefinition-Should-Have-Schema", true, false, "use the schema of 0.1.2-preview, exactly"},
    {"Credential-Confirmation-Should-Not-Be-Hidden", true, false, "set hideConfirmation to false"},
    {"DependsOn-Best-Practices", false, false, "use resourceId(), or the resource's name"},
    {"DependsOn-Must-Not-Be-Conditional", true, false,
     "a dependency on a resource that is not deployed is dropped by itself"},
    {"Deployment-Resources-Must-Not-Be-Debug", true, false, "remove debugSetting, or set it to none"},
    {"DeploymentTemplate-Must-Not-Contain-Hardcoded-Uri", true, false, "take it from environment()"},
    {"DeploymentTemplate-Schema-Is-Correct", false, false, "use the schema 2019-04-01/deploymentTemplate.json#"},
    {"Dynamic-Variable-References-Should-Not-Use-Concat", false, false,
     "put the variants into one object, and index it"},
    {"Expressions-May-Not-Be-Used-As-Parameter-Or-Variable-Names", true, false, "give it a plain name"},
    {"Expressions-Must-Resolve", true, true, "the deployment would fail here"},
    {"External-Links-Must-Reference-ArtifactsLocation", true, false,
     "build it from _artifactsLocation and _artifactsLocationSasToken"},
    {"Handler-Must-Be-Correct", true, false, "use Microsoft.Azure.CreateUIDef"},
    {"HideExisting-Must-Be-Correctly-Handled", true, false, "give out …ResourceGroup and …NewOrExisting, too"},
    {"IDs-Should-Be-Derived-From-ResourceIDs", false, false, "use resourceId() or reference()"},
    {"JSONFiles-Should-Be-Valid", true, false, "mend the JSON"},
    {"Location-Should-Be-In-Outputs", true, false, "add \"location\": \"[location()]\""},
    {"Location-Should-Not-Be-Hardcoded", true, false,
     "a parameter named location, [resourceGroup().location] by default, used everywhere"},
    {"ManagedIdentityExtension-must-not-be-used", false, false, "the metadata service gives tokens without it"},
    {"Min-And-Max-Value-Are-Numbers", true, false, "write the bound as a number, without quotes"},
    {"Outputs-Must-Be-Present-In-Template-Parameters", true, false,
     "each output is a parameter of the template, and of its type"},
    {"Outputs-Must-Not-Contain-Secrets", true, false,
     "outputs stay readable in the deployment's history: leave it out"},
    {"Package-Has-Required-Files", true, true,
     "mainTemplate.json and createUiDefinition.json stand at the root, spelled so"},
    {"Parameter-Types-Should-Be-Consistent", true, false, "declare the inner parameter with the outer one's type"},
    {"Parameters-Must-Be-Referenced", false, false, "remove the parameter, or use it"},
    {"Parameters-Property-Must-Exist", true, false, "add \"parameters\": {}"},
    {"Parameters-Without-Default-Must-Exist-In-CreateUIDefinition", true, false,
     "give the parameter a default, or let the form ask for it"},
    {"Password-Textboxes-Must-Be-Used-For-Password-Parameters", true, false,
     "a password box feeds a secureString parameter"},
    {"Password-params-must-be-secure", true, false, "use the type secureString"},
    {"PasswordBoxes-Must-Have-Min-Length", true, false,
     "add constraints; a regex of your own bounds the length from below, as {12,}"},
    {"Reference-Function-Must-Not-Use-Preview-ApiVersion", true, false, "use a version that was released"},
    {"ResourceIds-should-not-contain", false, false, "resourceId() knows its own subscription and resource group"},
    {"Resources-Should-Have-Location", true, false, "use [parameters('location')] or global"},
    {"Resources-Should-Not-Be-Ambiguous", true, false,
     "put the resource group before the type of a resource that is conditional or not of this template"},
    {"Secure-Params-In-Nested-Deployments", true, false,
     "set expressionEvaluationOptions.scope to inner, and pass the secret as a parameter"},
    {"Secure-String-Parameters-Cannot-Have-Default", true, false,
     "remove the default; an empty one and [newGuid()] may stay"},
    {"Template-Has-Known-Shape", true, true, "see the reference of Azure Resource Manager templates"},
    {"Template-Should-Not-Contain-Blanks", false, false, "leave the member out"},
    {"Textboxes-Are-Well-Formed", true, false, "add constraints with a regex that compiles and a validationMessage"},
    {"Tooltips-Should-Be-Present", true, false, "add a toolTip"},
    {"URIs-Should-Be-Properly-Constructed", true, false, "build it with uri()"},
    {"Usernames-Should-Not-Have-A-Default", true, false, "remove the default"},
    {"VM-Images-Should-Use-Latest-Version", false, false, "use latest, or say why not"},
    {"VM-Size-Should-Be-A-Parameter", true, false, "use [parameters('vmSize')]"},
    {"VMSizes-Must-Match-Template", true, false, "allow the template's default in the form, and give the choice out"},
    {"Validations-Must-Have-Message", true, false, "add a message"},
    {"Variables-Must-Be-Referenced", true, false, "remove the variable, or use it"},
    {"ViewDefinition-Has-Known-Shape", true, true, "see the viewDefinition reference of Azure managed applications"},
    {"Virtual-Machines-Should-Not-Be-Preview", true, false, "use an image that was released"},
    {"adminPassword-Should-Not-Be-A-Literal", true, false, "use a secureString parameter"},
    {"adminUsername-Should-Not-Be-A-Literal", true, false, "use a parameter"},
    {"apiVersions-Should-Be-Recent", false, false, "use a released version that is younger than two years"},
    {"artifacts-parameter", true, false,
     "_artifactsLocation: string, [deployment().properties.templateLink.uri]; _artifactsLocationSasToken: "
     "secureString, \"\""},
    {"providers_apiVersions-Is-Not-Permitted", false, false, "write the API version down"},
});
static_assert(std::ranges::is_sorted(kRules, {}, &RuleInfo::id));

const RuleInfo& rule_named(std::string_view id) {
  const auto found = std::ranges::lower_bound(kRules, id, {}, &RuleInfo::id);
  if (found == kRules.end() || found->id != id) throw Error("internal", fmt::format("there is no rule {}", id));
  return *found;
}

// The resource manager takes comments, and PowerShell writes a mark of its own: both become spaces, so that every line
// stays where it is.
std::string plain_json(std::string text) {
  if (text.starts_with("\xef\xbb\xbf")) text.replace(0, 3, 3, ' ');
  enum class In { kText, kString, kLine, kBlock } in = In::kText;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const char next = at + 1 < text.size() ? text[at + 1] : '\0';
    if (in == In::kString) {
      if (c == '\\') ++at;
      if (c == '"') in = In::kText;
    } else if (in == In::kText) {
      if (c == '"') in = In::kString;
      if (c == '/' && (next == '/' || next == '*')) {
        in = next == '/' ? In::kLine : In::kBlock;
        text[at++] = ' ';
        text[at] = ' ';
      }
    } else if (in == In::kLine && c == '\n') {
      in = In::kText;
    } else if (in == In::kBlock && c == '*' && next == '/') {
      in = In::kText;
      text[at++] = ' ';
      text[at] = ' ';
    } else if (c != '\n') {
      text[at] = ' ';
    }
  }
  return text;
}

Json parsed(const PackageFiles& files, std::string_view name, Report& report) {
  const auto file = files.find(std::string(name));
  if (file == files.end()) return nullptr;
  const std::string& text = file->second;
  auto json = Json::parse(text, kLimits);
  if (json && json->is_object()) return std::move(*json);
  report.add("JSONFiles-Should-Be-Valid", name, "", json ? "it is no JSON object" : json.error().story());
  return nullptr;
}

// Every expression of the main template, parsed once.
void collect(const Json& main, Subject& subject, Report& report) {
  const auto note = [&](const std::string& pointer, const std::string& text) {
    if (!is_expression(text) || pointer.contains("/metadata/")) return;
    try {
      subject.expressions.push_back({pointer, parse_expression(text)});
      subject.by_pointer[pointer] = subject.expressions.size() - 1;
      each_part(subject.expressions.back().expression, [&](const Expression& part) {
        for (std::string_view function : {"parameters", "variables"}) {
          const std::string_view name = named_in(part, function);
          if (!name.empty()) subject.used.insert(std::string(function) + "/" + small_letters(name));
        }
      });
    } catch (const Error& error) {
      report.add("Expressions-Must-Resolve", kMainTemplate, pointer, error.message);
    }
  };
  each_below(main, "", [&](const std::string& pointer, std::string_view name, const Json& value, const Json&) {
    note(pointer, std::string(name));
    if (value.is_string()) note(pointer, value.as_string());
  });
}

void check_files(const PackageFiles& files, Report& report) {
  for (std::string_view name : {kMainTemplate, kCreateUi}) {
    if (!files.contains(std::string(name))) {
      report.add("Package-Has-Required-Files", name, "", fmt::format("there is no {} at the root", name));
    }
  }
}

// Variables may also be declared by a loop.
bool has_variable(const Subject& subject, std::string_view name) {
  for (const auto& [is, value] : subject.section("variables").as_object()) {
    if (same_word(is, name)) return true;
    if (is != "copy" || !value.is_array()) continue;
    for (const Json& loop : value.as_array()) {
      if (same_word(text_of(loop, "name"), name)) return true;
    }
  }
  return false;
}

// A nested template has names of its own, where its scope is inner: those are not looked at.
bool in_nested_template(std::string_view pointer) {
  return pointer.contains("/properties/template/") || pointer.starts_with("/functions/");
}

}  // namespace

void Report::add(std::string_view rule, std::string_view file, std::string pointer, std::string message) {
  if (found.size() >= kMaxFindings) return;
  const RuleInfo& info = rule_named(rule);
  found.push_back({.rule = info.id,
                   .blocks = info.blocks,
                   .file = std::string(file),
                   .pointer = std::move(pointer),
                   .message = std::move(message),
                   .hint = info.hint});
}

std::span<const RuleInfo> check_rules() {
  return kRules;
}

void check_expressions(const Subject& subject, Report& report) {
  for (const Place& place : subject.expressions) {
    if (in_nested_template(place.pointer)) continue;
    each_part(place.expression, [&](const Expression& part) {
      if (part.kind == Expression::Kind::kCall && !is_template_function(part.text)) {
        report.add("Expressions-Must-Resolve", kMainTemplate, place.pointer,
                   fmt::format("there is no function {}", part.text));
      }
      const std::string_view parameter = named_in(part, "parameters");
      if (!parameter.empty() && subject.parameter(parameter) == nullptr) {
        report.add("Expressions-Must-Resolve", kMainTemplate, place.pointer,
                   fmt::format("there is no parameter {}", parameter));
      }
      const std::string_view variable = named_in(part, "variables");
      if (!variable.empty() && !has_variable(subject, variable)) {
        report.add("Expressions-Must-Resolve", kMainTemplate, place.pointer,
                   fmt::format("there is no variable {}", variable));
      }
    });
  }
}

std::vector<Finding> check_package(const PackageFiles& given, std::string_view today) {
  PackageFiles files = given;
  for (auto& [name, text] : files) {
    if (name.ends_with(".json")) text = plain_json(std::move(text));
  }
  Report report;
  check_files(files, report);
  Subject subject{.main = parsed(files, kMainTemplate, report),
                  .ui = parsed(files, kCreateUi, report),
                  .view = parsed(files, kView, report),
                  .expressions = {},
                  .today = std::string(today),
                  .by_pointer = {},
                  .used = {}};
  for (const auto& [name, text] : files) {
    if (name.ends_with(".json") && name != kMainTemplate && name != kCreateUi && name != kView)
      parsed(files, name, report);
  }
  if (!subject.main.is_null()) {
    collect(subject.main, subject, report);
    check_expressions(subject, report);
    check_template(subject, report);
    check_resources(subject, report);
    check_secrets(subject, report);
  }
  if (!subject.ui.is_null()) check_ui(subject, report);
  if (!subject.ui.is_null() && !subject.main.is_null()) check_ui_outputs(subject, report);
  check_shapes(subject, report);

  for (Finding& finding : report.found) {
    const auto file = files.find(finding.file);
    if (file != files.end()) finding.line = line_of(file->second, finding.pointer);
  }
  std::ranges::sort(report.found, [](const Finding& a, const Finding& b) {
    return std::tie(b.blocks, a.file, a.line, a.rule, a.pointer, a.message) <
           std::tie(a.blocks, b.file, b.line, b.rule, b.pointer, b.message);
  });
  const auto same = [](const Finding& a, const Finding& b) {
    return a.rule == b.rule && a.file == b.file && a.pointer == b.pointer && a.message == b.message;
  };
  const auto repeated = std::ranges::unique(report.found, same);
  report.found.erase(repeated.begin(), repeated.end());
  return std::move(report.found);
}

}  // namespace tb::azure

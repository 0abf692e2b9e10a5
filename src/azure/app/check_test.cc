// Our own package passes; for each rule one change of it is found by that rule, and by no other.
#include "azure/app/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "azure/app/plan.h"
#include "base/error.h"

namespace tb::azure {
namespace {

constexpr std::string_view kToday = "2026-11-26";

AppPlan sample_plan() {
  const std::string digest = "@sha256:" + std::string(64, 'a');
  return checked({.asset_id = "llama-8b",
                  .runtime_image = "registry.example.com/acme/runtime" + digest,
                  .sentinel_image = "registry.example.com/acme/sentinel" + digest,
                  .control_plane_url = "https://cp.example.com",
                  .control_plane_key = std::string(43, 'A'),
                  .contract_id = "acme-1",
                  .attestation = "tpm",
                  .sizes = {},
                  .regions = {"westeurope", "eastus2"},
                  .client_ranges = {"203.0.113.0/24"},
                  .billing_dimensions = {"requests", "tokens"},
                  .billing_plan_id = "metered"});
}

const Json& own(const std::string& file) {
  static const auto files = [] {
    std::map<std::string, Json> out;
    for (const auto& [name, text] : app_files(sample_plan())) {
      out[name] = value_or_throw(Json::parse(text, {.bytes = kMaxFileBytes, .depth = 32}));
    }
    return out;
  }();
  return files.at(file);
}

// The value at a pointer, made if the last part is a new member; "-" adds to an array.
Json& at(Json& json, std::string_view pointer) {
  Json* now = &json;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::size_t end = std::min(pointer.find('/'), pointer.size());
    std::string name;
    for (std::size_t i = 0; i < end; ++i) {
      const bool escape = pointer[i] == '~';
      name += escape ? (pointer[++i] == '0' ? '~' : '/') : pointer[i];
    }
    pointer.remove_prefix(end);
    if (now->is_array()) {
      if (name == "-") now->push(nullptr);
      now = name == "-" ? &now->as_array().back() : &now->as_array().at(std::stoul(name));
      continue;
    }
    if (now->find(name) == nullptr) now->set(name, nullptr);
    for (auto& [is, value] : now->as_object()) {
      if (is == name) {
        now = &value;
        break;
      }
    }
  }
  return *now;
}

Json json(std::string_view text) {
  return value_or_throw(Json::parse(text));
}

constexpr auto kMain = "mainTemplate.json";
constexpr auto kUi = "createUiDefinition.json";
constexpr auto kViews = "viewDefinition.json";

struct Change {
  std::string rule;
  std::string file;
  std::string pointer;
  Json value;                 // null: the member is removed
  std::string pointer2 = {};  // a second change, where one is not enough
  Json value2 = {};
};

std::string vm(std::string_view path) {
  return "/resources/6" + std::string(path);
}

std::vector<Change> changes() {
  const Json nested = json(R"({"type": "Microsoft.Resources/deployments", "apiVersion": "2025-04-01", "name": "inner",
      "properties": {"mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"},
                     "parameters": {"p": {"value": "[parameters('publicAddress')]"}},
                     "template": {"parameters": {"p": {"type": "string"}}, "resources": []}}})");
  Json outer = nested;
  at(outer, "/properties/expressionEvaluationOptions/scope") = "outer";
  at(outer, "/properties/parameters") = Json::object();
  at(outer, "/properties/template/variables") = json(R"({"x": "[parameters('apiKey')]"})");
  Json debug = nested;
  at(debug, "/properties/template/parameters/p/type") = "bool";
  Json linked = debug;
  at(linked, "/properties").erase("template");
  at(linked, "/properties/templateLink") = json(R"({"uri": "https://example.com/x.json"})");
  at(debug, "/properties/debugSetting") = json(R"({"detailLevel": "requestContent"})");
  const std::string outputs = "/parameters/outputs", access = "/parameters/steps/1/elements";
  return {
      {"JSONFiles-Should-Be-Valid", "extra.json", "", "no object"},
      {"Package-Has-Required-Files", kUi, "", nullptr},
      {"Template-Has-Known-Shape", kMain, "/contentVersion", "1.0"},
      {"Template-Has-Known-Shape", kMain, "/languageVersion", "2.0"},
      {"Template-Has-Known-Shape", kMain, "/parameters/attestation/type", "text"},
      {"Template-Has-Known-Shape", kMain, vm("/apiVersion"), nullptr},
      {"Template-Has-Known-Shape", kMain, "/outputs/modelUrl/type", nullptr},
      {"Template-Has-Known-Shape", kMain, "/more", 1},
      {"DeploymentTemplate-Schema-Is-Correct", kMain, "/$schema",
       "https://schema.management.azure.com/schemas/2014-01-01/deploymentTemplate.json#"},
      {"Expressions-Must-Resolve", kMain, vm("/name"), "[variables('nowhere')]"},
      {"Expressions-Must-Resolve", kMain, vm("/name"), "[parameters('nowhere')]"},
      {"Expressions-Must-Resolve", kMain, vm("/name"), "[exec('x')]"},
      {"Expressions-Must-Resolve", kMain, vm("/name"), "[concat('x']"},
      {"Location-Should-Not-Be-Hardcoded", kMain, vm("/location"), "[resourceGroup().location]"},
      {"Location-Should-Not-Be-Hardcoded", kMain, "/parameters/location/defaultValue", "westeurope"},
      {"Resources-Should-Have-Location", kMain, vm("/location"), "westeurope"},
      {"VM-Size-Should-Be-A-Parameter", kMain, vm("/properties/hardwareProfile/vmSize"), "Standard_NC24ads_A100_v4"},
      {"VM-Size-Should-Be-A-Parameter", kMain, vm("/properties/hardwareProfile/vmSize"),
       "[variables('names').virtualMachine]"},
      {"VM-Images-Should-Use-Latest-Version", kMain, vm("/properties/storageProfile/imageReference/version"),
       "24.04.1"},
      {"Virtual-Machines-Should-Not-Be-Preview", kMain, vm("/properties/storageProfile/imageReference/offer"),
       "ubuntu-preview"},
      {"DeploymentTemplate-Must-Not-Contain-Hardcoded-Uri", kMain, "/variables/names/subnet",
       "https://x.blob.core.windows.net/"},
      {"DeploymentTemplate-Must-Not-Contain-Hardcoded-Uri", kMain, "/outputs/modelUrl/metadata",
       Json::object().set("d", "HTTPS://Management.Azure.com/")},
      {"URIs-Should-Be-Properly-Constructed", kMain, vm("/properties/diagnosticsProfile/bootDiagnostics/storageUri"),
       "[concat('https://', parameters('location'))]"},
      {"Outputs-Must-Not-Contain-Secrets", kMain, "/outputs/modelUrl/value", "[concat(parameters('apiKey'), '')]"},
      {"Outputs-Must-Not-Contain-Secrets", kMain, "/outputs/modelUrl/value", "[string(variables('registryAuth'))]"},
      {"Outputs-Must-Not-Contain-Secrets", kMain, "/outputs/modelUrl/value",
       "[listKeys('x', '2024-01-01').keys[0].value]"},
      {"Outputs-Must-Not-Contain-Secrets", kMain, "/outputs/adminPassword",
       json(R"({"type": "string", "value": "x"})")},
      {"Secure-String-Parameters-Cannot-Have-Default", kMain, "/parameters/activationToken/defaultValue",
       "abcdefghijklmnopqrstuvwxyz"},
      {"CommandToExecute-Must-Use-ProtectedSettings-For-Secrets", kMain, "/resources/7/properties/settings",
       json(R"({"commandToExecute": "[concat('echo ', parameters('apiKey'))]"})")},
      {"Password-params-must-be-secure", kMain, "/parameters/registryPassword/type", "string"},
      {"adminUsername-Should-Not-Be-A-Literal", kMain, vm("/properties/osProfile/adminUsername"), "root"},
      {"adminPassword-Should-Not-Be-A-Literal", kMain, vm("/properties/osProfile/adminPassword"), "P@ssw0rd-for-all"},
      {"Min-And-Max-Value-Are-Numbers", kMain, "/parameters/stateDiskGb/maxValue", "4096"},
      {"Parameters-Property-Must-Exist", kMain, "/parameters", json("[]")},
      {"Parameters-Must-Be-Referenced", kMain, "/parameters/unused",
       json(R"({"type": "string", "defaultValue": "x"})")},
      {"Variables-Must-Be-Referenced", kMain, "/variables/unused", "x"},
      {"Dynamic-Variable-References-Should-Not-Use-Concat", kMain, vm("/name"),
       "[variables(concat('na', 'mes')).virtualMachine]"},
      {"Expressions-May-Not-Be-Used-As-Parameter-Or-Variable-Names", kMain, "/variables/[concat('a')]",
       "[variables('[concat(''a'')]')]"},
      {"Template-Should-Not-Contain-Blanks", kMain, vm("/tags"), Json::object()},
      {"artifacts-parameter", kMain, "/parameters/_artifactsLocation",
       json(R"({"type": "string", "defaultValue": "[deployment().properties.templateLink.uri]"})"), vm("/name"),
       "[concat('vm', parameters('_artifactsLocation'))]"},
      {"Reference-Function-Must-Not-Use-Preview-ApiVersion", kMain, "/outputs/identityPrincipalId/value",
       "[reference(resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', variables('names').identity), "
       "'2024-11-30-preview').principalId]"},
      {"providers_apiVersions-Is-Not-Permitted", kMain, "/outputs/modelUrl/value",
       "[providers('Microsoft.Compute', 'virtualMachines').apiVersions[0]]"},
      {"ResourceIds-should-not-contain", kMain, vm("/dependsOn/-"),
       "[resourceId(resourceGroup().name, 'Microsoft.Network/publicIPAddresses', 'x')]"},
      {"apiVersions-Should-Be-Recent", kMain, vm("/apiVersion"), "2021-03-01"},
      {"apiVersions-Should-Be-Recent", kMain, vm("/apiVersion"), "2026-03-01-preview"},
      {"IDs-Should-Be-Derived-From-ResourceIDs", kMain,
       "/resources/5/properties/ipConfigurations/0/properties/subnet/id", "/subscriptions/x"},
      {"IDs-Should-Be-Derived-From-ResourceIDs", kMain,
       "/resources/5/properties/ipConfigurations/0/properties/subnet/id", "[concat('/subscriptions/', 'x')]"},
      {"DependsOn-Best-Practices", kMain, vm("/dependsOn/-"), "[concat('Microsoft.Network/', 'x')]"},
      {"DependsOn-Must-Not-Be-Conditional", kMain, vm("/dependsOn/-"), "[if(parameters('publicAddress'), 'a', 'b')]"},
      {"Resources-Should-Not-Be-Ambiguous", kMain, vm("/dependsOn/-"),
       "[resourceId('Microsoft.Network/publicIPAddresses', 'conditional')]"},
      {"Resources-Should-Not-Be-Ambiguous", kMain, vm("/dependsOn/-"),
       "[resourceId('Microsoft.Sql/servers', 'elsewhere')]"},
      {"ManagedIdentityExtension-must-not-be-used", kMain, "/resources/7/properties/type",
       "ManagedIdentityExtensionForLinux"},
      {"Parameter-Types-Should-Be-Consistent", kMain, "/resources/-", nested},
      {"Secure-Params-In-Nested-Deployments", kMain, "/resources/-", outer},
      {"Deployment-Resources-Must-Not-Be-Debug", kMain, "/resources/-", debug},
      {"External-Links-Must-Reference-ArtifactsLocation", kMain, "/resources/-", linked},
      {"CreateUIDefinition-Should-Have-Schema", kUi, "/$schema",
       "https://schema.management.azure.com/schemas/0.1.2-preview/CreateUIDefinition.MultiVm.json"},
      {"Handler-Must-Be-Correct", kUi, "/handler", "Contoso.Handler"},
      {"CreateUIDefinition-Has-Known-Shape", kUi, "/version", "0.1.3"},
      {"CreateUIDefinition-Has-Known-Shape", kUi, access + "/1/constraints/allowedValues",
       json(R"([{"label": "Yes"}])")},
      {"CreateUIDefinition-Has-Known-Shape", kUi, access + "/2/label", nullptr},
      {"CreateUIDefinition-Must-Not-Have-Blanks", kUi, access + "/2/visible", ""},
      {"Location-Should-Be-In-Outputs", kUi, outputs + "/location", nullptr},
      {"Outputs-Must-Be-Present-In-Template-Parameters", kUi, outputs + "/nowhere", "[location()]"},
      {"Outputs-Must-Be-Present-In-Template-Parameters", kUi, outputs + "/stateDiskGb",
       "[steps('machine').stateDiskGb]"},
      {"Outputs-Must-Be-Present-In-Template-Parameters", kUi, outputs + "/publicAddress", "yes"},
      {"Controls-In-Outputs-Must-Exist", kUi, outputs + "/sshRange", "[steps('support').nothing]"},
      {"Controls-In-Outputs-Must-Exist", kUi, outputs + "/sshRange", "[steps('nowhere').sshRange]"},
      {"Controls-In-Outputs-Must-Exist", kUi, outputs + "/contractId", "[basics('nothing')]"},
      {"Parameters-Without-Default-Must-Exist-In-CreateUIDefinition", kUi, outputs + "/clientRanges", nullptr},
      {"Password-Textboxes-Must-Be-Used-For-Password-Parameters", kMain, "/parameters/apiKey/type", "string"},
      {"PasswordBoxes-Must-Have-Min-Length", kUi, access + "/3/constraints", nullptr},
      {"PasswordBoxes-Must-Have-Min-Length", kUi, access + "/3/constraints/regex", "^.{4,}$"},
      {"Credential-Confirmation-Should-Not-Be-Hidden", kUi, access + "/3/options/hideConfirmation", true},
      {"Textboxes-Are-Well-Formed", kUi, access + "/2/constraints/regex", "^([0-9]+$"},
      {"Textboxes-Are-Well-Formed", kUi, access + "/2/constraints/validationMessage", nullptr},
      {"Textboxes-Are-Well-Formed", kUi, access + "/2/constraints", nullptr},
      {"Tooltips-Should-Be-Present", kUi, access + "/2/toolTip", "", access + "/2/toolTip", nullptr},
      {"Validations-Must-Have-Message", kUi, access + "/2/constraints/validations", json(R"([{"regex": "^a$"}])")},
      {"Usernames-Should-Not-Have-A-Default", kUi, access + "/2",
       json(R"({"name": "virtualNetworkRange", "type": "Microsoft.Compute.UserNameTextBox",
          "label": "x", "toolTip": "x", "osPlatform": "Linux", "defaultValue": "azureuser"})")},
      {"Allowed-Values-Should-Actually-Be-Allowed", kUi,
       "/parameters/steps/0/elements/1/constraints/allowedValues/1/value", "snp"},
      {"VMSizes-Must-Match-Template", kUi, "/parameters/steps/0/elements/0/constraints/allowedSizes",
       json(R"(["Standard_NC40ads_H100_v5"])")},
      {"VMSizes-Must-Match-Template", kMain, "/parameters/vmSize/defaultValue", "Standard_D2s_v5"},
      {"HideExisting-Must-Be-Correctly-Handled", kUi, "/parameters/basics/-",
       json(R"({"name": "net", "type": "Microsoft.Network.VirtualNetworkCombo", "label": "x", "toolTip": "x"})")},
      {"CreateUIDefinition-Must-Have-Parameters", kUi, "/parameters", "none", "/parameters", nullptr},
      {"ViewDefinition-Has-Known-Shape", kViews, "/views/0/kind", "Picture"},
      {"ViewDefinition-Has-Known-Shape", kViews, "/views/1/properties/charts/0/chartType", "Pie"},
      {"ViewDefinition-Has-Known-Shape", kViews, "/views/1/properties/charts/0/metrics/0/aggregationType", "mean"},
      {"ViewDefinition-Has-Known-Shape", kViews, "/views", nullptr},
  };
}

void apply(Json& document, const std::string& pointer, const Json& value) {
  if (!value.is_null()) {
    at(document, pointer) = value;
    return;
  }
  const std::size_t slash = pointer.rfind('/');
  at(document, pointer.substr(0, slash)).erase(pointer.substr(slash + 1));
}

PackageFiles changed(const Change& change) {
  PackageFiles files = app_files(sample_plan());
  if (change.pointer.empty()) {
    if (change.value.is_null()) files.erase(change.file);
    if (change.value.is_string()) files[change.file] = change.value.as_string();
    return files;
  }
  Json document = own(change.file);
  apply(document, change.pointer, change.value);
  if (!change.pointer2.empty()) apply(document, change.pointer2, change.value2);
  files[change.file] = document.pretty();
  return files;
}

TEST(Check, FindsNothingInOurOwn) {
  for (const Finding& finding : check_package(app_files(sample_plan()), kToday)) {
    ADD_FAILURE() << finding.rule << " " << finding.file << finding.pointer << ": " << finding.message;
  }
  AppPlan least = sample_plan();
  least.contract_id = least.control_plane_key = least.billing_plan_id = "";
  least.attestation = "none";
  least.regions = least.client_ranges = least.billing_dimensions = {};
  for (const Finding& finding : check_package(app_files(least), kToday))
    ADD_FAILURE() << finding.rule << finding.pointer;
}

TEST(Check, FindsEachChangeByItsRuleAndNoOther) {
  for (const Change& change : changes()) {
    std::set<std::string> rules;
    const auto found = check_package(changed(change), kToday);
    for (const Finding& finding : found) rules.emplace(finding.rule);
    std::string shown;
    for (const Finding& finding : found)
      shown += "\n  " + std::string(finding.rule) + " " + finding.pointer + ": " + finding.message;
    // Two rules say the same of a form without parameters, and of a form that is not there.
    if (change.rule == "Parameters-Property-Must-Exist" || change.rule == "CreateUIDefinition-Must-Have-Parameters") {
      EXPECT_TRUE(rules.contains(change.rule)) << change.rule << shown;
      continue;
    }
    EXPECT_THAT(rules, testing::ElementsAre(change.rule)) << change.file << change.pointer << shown;
  }
}

TEST(Check, HasAChangeForEachRule) {
  std::set<std::string, std::less<>> tried;
  for (const Change& change : changes()) tried.insert(change.rule);
  for (const RuleInfo& rule : check_rules()) EXPECT_TRUE(tried.contains(rule.id)) << rule.id;
}

TEST(Check, SaysWhere) {
  PackageFiles files = app_files(sample_plan());
  Json document = own(kMain);
  at(document, "/resources/6/location") = "westeurope";
  files[kMain] = document.pretty();
  const auto found = check_package(files, kToday);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].pointer, "/resources/6/location");
  std::size_t line = 1, at = 0;
  const std::string text = files[kMain];
  for (const std::size_t hit = text.find("\"westeurope\""); at < hit; ++at) line += text[at] == '\n' ? 1 : 0;
  EXPECT_EQ(found[0].line, line);
  EXPECT_TRUE(found[0].blocks);
  EXPECT_EQ(line_of("{\n\"a~b/c\": [1,\n {\"d\\\"e\": 2}]}", "/a~0b~1c/1/d\"e"), 3U);
  EXPECT_EQ(line_of("{}", "/a"), 0U);
}

TEST(Check, ReadsWhatIsNoTemplate) {
  for (std::string_view text : {"", "[]", "{", "{\"a\":1,\"a\":2}", "\xff"}) {
    PackageFiles files = app_files(sample_plan());
    files[kMain] = std::string(text);
    const auto found = check_package(files, kToday);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found[0].rule, "JSONFiles-Should-Be-Valid") << text;
  }
  const PackageFiles odd = {{kMain, R"({"parameters":[1],"variables":5,"resources":{"a":{"b":[]}},"outputs":[null]})"},
                            {kUi, R"({"parameters":{"basics":{"x":1},"steps":[null,{}],"outputs":[]}})"},
                            {kViews, R"({"views":[5,{"kind":"Metrics"}]})"}};
  EXPECT_FALSE(check_package(odd, kToday).empty());
  PackageFiles marked = app_files(sample_plan());
  marked[kMain] = "\xef\xbb\xbf" + marked[kMain];
  EXPECT_TRUE(check_package(marked, kToday).empty());
}

TEST(Check, EndsOnTemplatesThatAreMadeToTakeForever) {
  Json document = own(kMain);
  constexpr int kMany = 1200;
  for (int i = 0; i < kMany; ++i) {
    const std::string below = i == 0 ? "deployment" : "v" + std::to_string(i - 1);
    at(document, "/variables/v" + std::to_string(i)) = "[variables('" + below + "')]";
    at(document, "/outputs/o" + std::to_string(i)) =
        Json::object().set("type", "string").set("value", "[variables('v" + std::to_string(kMany - 1) + "')]");
  }
  PackageFiles files = app_files(sample_plan());
  files[kMain] = document.pretty();
  try {
    check_package(files, kToday);
    ADD_FAILURE() << "it was followed to its end";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "package_malformed");
  }
}

TEST(Check, TakesWhatTheResourceManagerTakes) {
  PackageFiles files = app_files(sample_plan());
  Json document = own(kMain);
  at(document, "/variables/copy") = json(R"([{"name": "looped", "count": 2, "input": "[copyIndex('looped')]"}])");
  at(document, "/resources/6/tags") =
      json(R"({"url": "https://example.com/*x*/", "n": "[string(variables('looped'))]"})");
  at(document, "/parameters/location/metadata/description") = "[not an expression]";
  std::string text = document.pretty();
  text.insert(text.find('\n'), " // a note with \"quotes\"\n/* two\nlines */");
  files[kMain] = text;
  EXPECT_TRUE(check_package(files, kToday).empty());
  at(document, "/resources/6/location") = "westeurope";
  const std::string plain = document.pretty();
  files[kMain] = "/* one\ntwo */" + plain;
  const auto found = check_package(files, kToday);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].line, line_of(plain, "/resources/6/location") + 1);
  files[kMain] = "{ /* without an end";
  EXPECT_FALSE(check_package(files, kToday).empty());
}

}  // namespace
}  // namespace tb::azure

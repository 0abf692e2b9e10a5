// From a plan to the package's files: the texts of deploy/azure with the plan's values in their places.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "azure/app/expression.h"
#include "azure/app/plan.h"
#include "base/result.h"

namespace tb::azure {
namespace {

struct EmbeddedFile {
  std::string_view path, text;
};

namespace app {
#include "azure/app_files.inc"
}
namespace machine {
#include "azure/machine_files.inc"
}

constexpr JsonLimits kOwnLimits{.bytes = std::size_t{1} << 20, .depth = 32};

std::string_view app_text(std::string_view path) {
  for (const EmbeddedFile& file : app::kFiles) {
    if (file.path == path) return file.text;
  }
  throw Error("internal", fmt::format("{} is not in this program", path));
}

Json app_json(std::string_view path) {
  return value_or_throw(Json::parse(app_text(path), kOwnLimits));
}

/// The member at the end of `path`, all of which is there.
Json& member(Json& object, std::initializer_list<std::string_view> path) {
  Json* at = &object;
  for (std::string_view name : path) {
    const auto found = std::ranges::find(at->as_object(), name, &Json::Member::first);
    if (found == at->as_object().end()) throw Error("internal", fmt::format("the template has no {}", name));
    at = &found->second;
  }
  return *at;
}

Json& named_element(Json& list, std::string_view name) {
  for (Json& item : list.as_array()) {
    if (const Json* is = item.find("name"); is != nullptr && is->is_string() && is->as_string() == name) return item;
  }
  throw Error("internal", fmt::format("the template has no {}", name));
}

Json texts(const std::vector<std::string>& list) {
  Json out = Json::array();
  for (const std::string& text : list) out.push(text);
  return out;
}

std::string joined(const std::vector<std::string>& list, std::string_view between) {
  std::string out;
  for (const std::string& text : list) {
    if (!out.empty()) out += between;
    out += text;
  }
  return out;
}

/// One element for each line, none of which is an expression: what join() makes one text of again.
Json lines(std::string_view text) {
  Json out = Json::array();
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out.push(escaped_literal(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  out.push("");
  return out;
}

std::string main_template(const AppPlan& plan) {
  Json out = app_json("mainTemplate.json");
  Json& size = member(out, {"parameters", "vmSize"});
  size.set("defaultValue", plan.sizes.front());
  size.set("allowedValues", texts(plan.sizes));
  member(out, {"parameters", "attestation"}).set("defaultValue", plan.attestation);
  if (!plan.contract_id.empty()) member(out, {"parameters", "contractId"}).set("defaultValue", plan.contract_id);
  Json& variables = member(out, {"variables"});
  variables.set("runtimeImage", plan.runtime_image);
  Json& deployment = member(variables, {"deployment"});
  deployment.set("assetId", plan.asset_id);
  deployment.set("controlPlaneUrl", plan.control_plane_url);
  deployment.set("sentinelImage", plan.sentinel_image);
  if (!plan.control_plane_key.empty()) deployment.set("controlPlaneKey", plan.control_plane_key);
  if (!plan.billing_dimensions.empty()) {
    deployment.set("billingDimensions", joined(plan.billing_dimensions, ","));
    deployment.set("billingPlanId", plan.billing_plan_id);
    deployment.set("billingResourceId", "[resourceGroup().managedBy]");
  }
  variables.set("installSecrets", lines(app_text("install-secrets")));
  variables.set("cloudConfig", lines(cloud_config()));
  return out.pretty() + "\n";
}

std::string create_ui_definition(const AppPlan& plan) {
  Json out = app_json("createUiDefinition.json");
  Json& parameters = member(out, {"parameters"});
  Json& steps = member(parameters, {"steps"});
  Json& machine = member(named_element(steps, "machine"), {"elements"});
  Json& size = named_element(machine, "vmSize");
  size.set("recommendedSizes", texts(plan.sizes));
  member(size, {"constraints"}).set("allowedSizes", texts(plan.sizes));
  if (plan.attestation == "tpm") named_element(machine, "attestation").set("defaultValue", "Virtual TPM");
  if (!plan.contract_id.empty()) {
    named_element(member(parameters, {"basics"}), "contractId").set("defaultValue", plan.contract_id);
  }
  if (!plan.client_ranges.empty()) {
    Json& access = member(named_element(steps, "access"), {"elements"});
    named_element(access, "clientRanges").set("defaultValue", joined(plan.client_ranges, ", "));
  }
  if (!plan.regions.empty()) {
    member(parameters, {"config", "basics", "location"}).set("allowedValues", texts(plan.regions));
  }
  return out.pretty() + "\n";
}

bool is_program(std::string_view path) {
  return path.starts_with("usr/local/lib/");
}

}  // namespace

std::string cloud_config() {
  std::string out =
      "#cloud-config\n"
      "# Files of the machine, then its units. Secrets come by the extension install-secrets, and nothing here is "
      "one.\n"
      "ssh_pwauth: false\n"
      "disable_root: true\n"
      "write_files:\n"
      "  - path: /etc/trustbridge/deployment.json\n"
      "    permissions: \"0644\"\n"
      "    encoding: b64\n"
      "    content: \"@DEPLOYMENT@\"\n";
  for (const EmbeddedFile& file : machine::kFiles) {
    out += fmt::format("  - path: /{}\n    permissions: \"{}\"\n    content: |\n", file.path,
                       is_program(file.path) ? "0755" : "0644");
    for (std::string_view rest = file.text; !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      if (end > 0) out += fmt::format("      {}", rest.substr(0, end));
      out += '\n';
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  out += "runcmd:\n";
  out += "  - [/usr/local/lib/trustbridge/close-logins]\n";
  out += "  - [systemd-sysusers, /etc/sysusers.d/trustbridge.conf]\n";
  out += "  - [systemd-tmpfiles, --create, /etc/tmpfiles.d/trustbridge.conf]\n";
  out += "  - [systemctl, daemon-reload]\n";
  std::string units;
  for (const EmbeddedFile& file : machine::kFiles) {
    constexpr std::string_view kUnits = "etc/systemd/system/";
    if (file.path.starts_with(kUnits)) units += fmt::format(", {}", file.path.substr(kUnits.size()));
  }
  out += fmt::format("  - [systemctl, enable{}]\n", units);
  out += "  - [systemctl, start, --no-block, multi-user.target, run-trustbridge.mount, trustbridge-sentinel.path]\n";
  return out;
}

std::map<std::string, std::string> app_files(const AppPlan& plan) {
  return {{"mainTemplate.json", main_template(plan)},
          {"createUiDefinition.json", create_ui_definition(plan)},
          {"viewDefinition.json", std::string(app_text("viewDefinition.json"))}};
}

}  // namespace tb::azure

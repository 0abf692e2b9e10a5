// package: an asset as an application of the Azure Marketplace, and a look at such a package.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/package.h"

namespace tb::cli {
namespace {

struct Flags {
  PackageOptions options;
  SettingFlags settings;
  bool list_sizes = false;
};

void make(const Flags& flags, const Console& console) {
  const Packaged made = make_package(flags.options, flags.settings);
  Json result = Json::object();
  Json files = Json::array();
  for (const std::string& name : made.files) files.push(name);
  result.set("output", made.path);
  result.set("sha256", made.sha256);
  result.set("bytes", made.bytes);
  result.set("files", std::move(files));
  console.result(result, made.path);
  console.note("this is a draft's package: docs/azure.md says what is left to do at Partner Center");
}

void look(const std::string& path, Context& context) {
  const auto findings = look_at_package(path);
  const auto errors = std::ranges::count_if(findings, &azure::Finding::blocks);
  Json result = Json::object();
  result.set("package", path);
  result.set("passed", errors == 0);
  result.set("rules", std::uint64_t{azure::check_rules().size()});
  result.set("findings", to_json(findings));
  std::string text = shown(findings);
  if (!text.empty()) text += '\n';
  text += fmt::format("{}: {} rules, {} errors, {} warnings", path, azure::check_rules().size(), errors,
                      static_cast<std::ptrdiff_t>(findings.size()) - errors);
  context.console.result(result, text);
  if (errors == 0) return;
  const Error refused("package_refused", fmt::format("{} would be refused", path));
  context.exit_status = refused.exit_status();
  if (!context.console.json) context.console.error(refused);
}

void sizes(const Console& console) {
  Json list = Json::array();
  std::string text;
  for (const std::string& size : azure::known_sizes()) {
    list.push(size);
    text += (text.empty() ? "" : "\n") + size;
  }
  console.result(Json::object().set("sizes", std::move(list)), text);
}

void add_plan_flags(Command command, azure::AppPlan& plan) {
  command.add_option("--asset-id", plan.asset_id, "the asset to serve").type_name("ID");
  command.add_option("--image", plan.runtime_image, "the runtime's image, as REGISTRY/NAME@sha256:DIGEST")
      .type_name("IMAGE");
  command.add_option("--sentinel-image", plan.sentinel_image, "the sentinel's image, likewise [in --image, too]")
      .type_name("IMAGE");
  command.add_option("--contract-id", plan.contract_id, "the contract that the form offers").type_name("ID");
  command.add_option("--attestation", plan.attestation, "what the form offers: none or tpm [none]").type_name("KIND");
  command.add_option("--size", plan.sizes, "sizes of machines to allow, the first is offered [current GPU sizes]")
      .split_at(',')
      .type_name("SIZE");
  command.add_option("--region", plan.regions, "regions to allow [all]").split_at(',').type_name("REGION");
  command.add_option("--client-ranges", plan.client_ranges, "address ranges that the form offers for port 8000")
      .split_at(',')
      .type_name("CIDR");
  command
      .add_option("--billing", plan.billing_dimensions,
                  "what the marketplace bills, as docs/metering.md names it [off]")
      .split_at(',')
      .type_name("DIMENSION");
  command
      .add_option("--billing-plan", plan.billing_plan_id, "the plan's id at the marketplace; required with --billing")
      .type_name("ID");
}

}  // namespace

void add_package(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  auto checked = std::make_shared<std::string>();
  const Command command =
      add_command(root, context, "package", "make an Azure managed application of an asset, or check one",
                  "trustbridge package --asset-id llama-8b --edc-endpoint https://cp.example.com \\\n"
                  "    --image registry.example.com/acme/runtime@sha256:DIGEST --output-zip llama-8b.zip\n"
                  "  trustbridge package --check llama-8b.zip");
  add_plan_flags(command, flags->options.plan);
  command.add_option("-o,--output-zip,--output", flags->options.output, "where the package goes [trustbridge-app.zip]")
      .type_name("FILE");
  command.add_flag("-f,--force", flags->options.force, "replace a package that is there");
  const Option check =
      command
          .add_option("--check", *checked, "make nothing, and check a zip or a directory [the package at --output-zip]")
          .value_may_be_left_out()
          .type_name("PATH");
  command.add_flag("--list-sizes", flags->list_sizes, "print the sizes of machines that --size takes");
  SettingFlags& s = flags->settings;
  command.add_option("--edc-endpoint", s.edc_endpoint, "the control plane's base URL [TB_EDC_ENDPOINT, profile]")
      .type_name("URL")
      .group("Control plane");
  command
      .add_option(
          "--control-plane-key", s.control_plane_key,
          "file with the control plane's identity key, which sentinels then pin [TB_CONTROL_PLANE_KEY, profile]")
      .type_name("FILE")
      .group("Control plane");
  command.add_option("--profile", s.profile, "profile of ~/.trustbridge/config.toml [TB_PROFILE]")
      .type_name("NAME")
      .group("Control plane");
  command.callback([&context, flags, checked, check] {
    context.action = [&context, flags, checked, asked = check.count() > 0] {
      if (flags->list_sizes) return sizes(context.console);
      if (asked) return look(checked->empty() ? flags->options.output : *checked, context);
      make(*flags, context.console);
    };
  });
}

}  // namespace tb::cli

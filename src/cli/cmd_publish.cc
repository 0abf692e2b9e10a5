// publish: from a model to a deployment that a customer can have, as one list of commands that goes on where it
// stopped.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <iostream>

#include "base/fs.h"
#include "cli/command.h"
#include "cli/publish_draft.h"
#include "cli/publish_inputs.h"
#include "cli/publish_run.h"

namespace tb::cli {
namespace {

struct Flags {
  PublishFlags plan;
  std::string positional, summary;
  bool dry_run = false, yes = false;
  std::vector<std::pair<std::string, bool>> skips;
};

std::string_view word_of(Standing standing) {
  switch (standing) {
    case Standing::kToDo:
      return "to do";
    case Standing::kDone:
      return "done";
    case Standing::kInterrupted:
      return "interrupted";
    case Standing::kStale:
      return "changed";
  }
  return "";
}

std::string line_of(const Step& step) {
  return step.arguments.empty() ? fmt::format("(writes {})", step.outputs.front()) : command_line(step.arguments);
}

std::string plan_text(const PublishPlan& plan, const std::vector<StepStanding>& standings) {
  std::string text;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    std::string word(word_of(standings[i].standing));
    if (standings[i].standing == Standing::kStale) word += fmt::format(": {}", fmt::join(standings[i].changed, ", "));
    text += fmt::format("# {} ({})\n{}\n", plan.steps[i].name, word, line_of(plan.steps[i]));
  }
  return text;
}

Json plan_json(const PublishPlan& plan, const std::vector<StepStanding>& standings) {
  Json steps = Json::array();
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    Json json = Json::object();
    json.set("name", step.name);
    json.set("status", word_of(standings[i].standing));
    json.set("command", line_of(step));
    json.set("arguments", Json(Json::Array(step.arguments.begin(), step.arguments.end())));
    json.set("changed", Json(Json::Array(standings[i].changed.begin(), standings[i].changed.end())));
    steps.push(std::move(json));
  }
  Json json = Json::object();
  json.set("asset_id", plan.asset_id);
  json.set("directory", plan.out);
  json.set("steps", std::move(steps));
  return json;
}

void require_commands(const PublishPlan& plan, Command root) {
  for (const Step& step : plan.steps) {
    if (step.arguments.empty()) continue;
    const std::string& verb = step.arguments.front();
    if (!root.has_subcommand(verb)) {
      throw Error("usage", fmt::format("this build has no command {}", verb))
          .with_hint(fmt::format("say --skip-{}", step.name));
    }
  }
}

void confirm(const Flags& flags, const std::string& text, const Console& console) {
  if (flags.yes) return;
  if (isatty(STDIN_FILENO) != 1 || !stderr_is_terminal()) {
    throw Error("usage", "there is no terminal to ask at").with_hint("read the plan with --dry-run, then say --yes");
  }
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    console.note(text.substr(at, end - at));
    at = end + 1;
  }
  console.note("go on? [y/N]");
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "y" && answer != "yes") throw Error("cancelled", "nothing was done");
}

Json summary_json(const PublishPlan& plan, const PublishOutcome& outcome) {
  Json steps = Json::array();
  for (const StepOutcome& step : outcome.steps) {
    Json json = Json::object();
    json.set("name", step.name);
    json.set("status", step.exit_status != 0 ? "failed" : step.ran ? "done now" : "done before");
    json.set("command", line_of(settled(*plan.find(step.name), outcome.state)));
    if (step.exit_status != 0) json.set("exit_status", step.exit_status);
    Json result = Json::object();
    if (const StepRecord* record = outcome.state.find(step.name)) {
      for (const auto& [name, value] : record->result) result.set(name, value);
    }
    json.set("result", std::move(result));
    steps.push(std::move(json));
  }
  Json json = Json::object();
  json.set("asset_id", plan.asset_id);
  json.set("directory", plan.out);
  json.set("ok", outcome.exit_status == 0);
  json.set("steps", std::move(steps));
  return json;
}

std::string summary_text(const Json& summary) {
  std::string text;
  for (const Json& step : summary.find("steps")->as_array()) {
    text += fmt::format("{:<9} {}\n", step.find("name")->as_string(), step.find("status")->as_string());
    for (const auto& [name, value] : step.find("result")->as_object()) {
      text += fmt::format("{:<9} {}: {}\n", "", name, printable(value.as_string()));
    }
  }
  return text;
}

// What environment and profile say, made part of the plan: another control plane is then seen as a changed input.
void settle_places(PublishFlags& f) {
  SettingFlags given{.edc_endpoint = f.edc_endpoint, .profile = f.profile};
  f.edc_endpoint = settle(given).edc_endpoint;
  const bool says_azure = f.store == "azure:";  // as upload takes it: the account says the same
  if (says_azure) f.store.clear();
  if (f.store.empty() && f.storage_account.empty()) {
    f.storage_account = process_environment("AZURE_STORAGE_ACCOUNT").value_or("");
    if (says_azure && f.storage_account.empty()) throw Error("usage", "--store azure: needs --storage-account");
  }
  if (!f.storage_account.empty() && f.container.empty()) {
    f.container = process_environment("AZURE_STORAGE_CONTAINER").value_or("");
  }
  if (f.registry.empty()) f.registry = process_environment("DOCKER_REGISTRY").value_or("");
}

void publish(Flags& flags, Command root, Context& context) {
  const Console& console = context.console;
  if (!flags.positional.empty() || !flags.plan.in.empty()) {
    flags.plan.in = positional_or_flag(flags.positional, flags.plan.in, "--in");
  }
  for (const auto& [name, skipped] : flags.skips) {
    if (skipped) flags.plan.skipped.push_back(name);
  }
  settle_places(flags.plan);
  const PublishPlan plan = plan_publish(flags.plan);
  require_commands(plan, root);
  const PublishState before = read_state(plan);
  const std::vector<StepStanding> now = standings(plan, before);
  PublishPlan shown = plan;
  for (Step& step : shown.steps) step = settled(step, before);
  const std::string text = plan_text(shown, now);
  if (flags.dry_run) {
    console.result(plan_json(shown, now), text);
    return;
  }
  confirm(flags, text, console);
  Publisher publisher(plan, console, [&](const PublishState& state) {
    const Step& draft = *plan.find("draft");
    const Json json = marketplace_draft(flags.plan, plan, state, file_sha256(draft.inputs.front().path));
    value_or_throw(write_file_atomically(draft.outputs.front(), json.pretty() + "\n", 0644, true));
  });
  const std::string path = flags.summary.empty() ? plan.out + "/summary.json" : flags.summary;
  remove_partials(path);
  const PublishOutcome outcome = publisher.run();
  const Json summary = summary_json(plan, outcome);
  value_or_throw(write_file_atomically(path, summary.pretty() + "\n", 0644, true));
  console.result(summary, summary_text(summary));
  if (outcome.exit_status != 0) {
    console.note(fmt::format("{} failed: the same command goes on from there", outcome.steps.back().name));
  }
  context.exit_status = outcome.exit_status;
}

void add_store_flags(Command command, PublishFlags& f) {
  const auto option = [&](const char* name, std::string& value, const char* text, const char* type) {
    command.add_option(name, value, text).type_name(type).group("Store");
  };
  option("--store", f.store, "cp:, file:DIR, azure: or https:URL, as upload takes them", "STORE");
  option("--storage-account", f.storage_account, "Azure account", "NAME");
  option("--container", f.container, "its container", "NAME");
  option("--prefix", f.prefix, "what stands before the asset's id in the container", "PATH");
  option("--endpoint", f.endpoint, "of another cloud or an emulator", "URL");
  option("--auth", f.auth, "how upload authenticates itself there", "HOW");
  option("--account-key-file", f.account_key_file, "account key, 0600", "FILE");
  option("--sas-file", f.sas_file, "shared access signature, 0600", "FILE");
  option("--authorization-file", f.authorization_file, "Authorization header of an https store, 0600", "FILE");
  option("--parallel", f.parallel, "blocks that are sent at once", "N");
  option("--max-bytes-per-second", f.max_bytes_per_second, "send no faster than this", "N");
  command.add_flag("--create-container", f.create_container, "make the container if it is not there").group("Store");
  option("--blob-url", f.blob_url, "where sentinels fetch the ciphertext, if the store does not say", "URL");
  option("--manifest-url", f.manifest_url, "where they fetch the manifest [beside it]", "URL");
  command.add_flag("--one-pass", f.one_pass, "encrypt and upload at once, without a ciphertext on this disk")
      .group("Store");
}

void add_contract_flags(Command command, PublishFlags& f) {
  const auto option = [&](const char* name, std::string& value, const char* text, const char* type) {
    command.add_option(name, value, text).type_name(type).group("Contract");
  };
  option("--contract-id", f.contract_id, "the first contract's id", "CONTRACT");
  option("--consumer", f.consumer, "who may run it", "NAME");
  option("--not-before", f.not_before, "when it starts [now]", "TIME");
  option("--not-after", f.not_after, "when it ends: RFC 3339, or from now as 30d", "TIME");
  option("--max-seats", f.max_seats, "sentinels at one time [1]", "N");
  command.add_option("--hardware", f.hardware, "any, pin_first, or a hardware id; may be repeated")
      .type_name("MODE")
      .group("Contract")
      .takes_one();
  option("--attestation", f.attestation, "none, tpm, snp or token [none]", "KIND");
  option("--attestation-policy", f.attestation_policy, "file with the expected values, JSON", "FILE");
  option("--quotas", f.quotas, "file with the quotas, JSON", "FILE");
  option("--metering", f.metering, "file with what is counted, JSON", "FILE");
  option("--marketplace", f.marketplace, "file with where the control plane reports usage to, JSON", "FILE");
  for (const TermFlag& flag : contract_term_flags()) {
    const Option term = command.add_option(flag.name, f.terms[flag.name], flag.text).type_name(flag.type);
    term.group("Contract");
    flag.repeats ? term.takes_one() : term.takes_just_one();
  }
  option("--activation-token-file", f.activation_token_file, "where the activation token goes [in the directory]",
         "FILE");
}

void add_package_flags(Command command, PublishFlags& f) {
  const auto option = [&](const char* name, std::string& value, const char* text, const char* type) {
    return command.add_option(name, value, text).type_name(type).group("Image and package");
  };
  option("--registry", f.registry, "where the image is pushed", "HOST");
  option("--image-name", f.image_name, "its name [trustbridge-KIND]", "NAME");
  option("--tag", f.tag, "its tag", "TAG").shows_default();
  option("--sentinel-binary", f.sentinel_binary, "sentinel that goes into it", "FILE");
  option("--base-image", f.base_image, "runtime that it is built on", "IMAGE");
  option("--auth-file", f.auth_file, "registry logins [REGISTRY_AUTH_FILE, then podman's, then docker's]", "FILE");
  option("--oci-layout", f.oci_layout, "write the image there too", "DIR");
  command.add_flag("--no-push", f.no_push, "do not push it").group("Image and package");
  option("--image", f.image, "image of the package [the one that build makes]", "IMAGE");
  option("--output-zip", f.output_zip, "where the package goes [in the directory]", "FILE");
  option("--offer-id", f.offer_id, "offer at the marketplace, for the draft", "ID");
  option("--plan-id", f.plan_id, "its plan", "ID");
  command.add_option("--dimension", f.dimensions, "a metered dimension; may be repeated")
      .type_name("ID")
      .group("Image and package")
      .takes_one();
}

void add_publish_control_plane(Command command, PublishFlags& f) {
  const auto option = [&](const char* name, std::string& value, const char* text, const char* type) {
    command.add_option(name, value, text).type_name(type).group("Control plane");
  };
  option("--edc-endpoint", f.edc_endpoint, "the control plane's base URL [TB_EDC_ENDPOINT, profile]", "URL");
  option("--token-file", f.token_file, "file with your bearer token, 0600 [TB_TOKEN_FILE, profile]", "FILE");
  option("--ca-path", f.ca_path, "PEM file of the certificate authorities to trust [TB_CA_PATH, profile]", "FILE");
  option("--control-plane-key", f.control_plane_key,
         "its identity key, which is pinned [TB_CONTROL_PLANE_KEY, profile]", "FILE");
  option("--tenant", f.tenant, "refuse a token of another tenant [TB_TENANT, profile]", "NAME");
  option("--profile", f.profile, "profile of ~/.trustbridge/config.toml [TB_PROFILE, default_profile]", "NAME");
  command.add_flag("--allow-insecure-http", f.allow_insecure_http, "let credentials travel in the clear")
      .group("Control plane");
}

}  // namespace

void add_publish(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  PublishFlags& f = flags->plan;
  const Command command =
      add_command(root, context, "publish", "all steps from a model to a deployment, resumed where they stopped",
                  "trustbridge publish ./llama-3-8b --asset-id llama-3-8b-v1 --store cp: --consumer acme "
                  "--contract-id acme-1 --not-after 30d --yes");
  command.add_option("path", flags->positional, "file, GGUF or Hugging Face style directory").type_name("PATH");
  command.add_option("--in", f.in, "the same, as a flag").type_name("PATH");
  command.add_option("--asset-id", f.asset_id, "name of the asset: letters, digits, _ and -")
      .required()
      .type_name("ID");
  command.add_option("-o,--out", f.out, "directory of everything that is made, and of the state [<asset>.publish]")
      .type_name("DIR");
  command.add_option("--key-file", f.key_file, "file key, made if absent [in the directory]").type_name("FILE");
  command.add_option("--sign-key", f.sign_key, "sign the manifest with this key of keygen --signing").type_name("FILE");
  command.add_option("--oms-key", f.oms_key, "sign the model's files with this key of keygen --oms").type_name("FILE");
  command.add_option("--oms-certificates", f.oms_certificates, "name that signer by this chain, PEM").type_name("FILE");
  command.add_option("--chunk-bytes", f.chunk_bytes, "plaintext bytes of a chunk").type_name("N");
  command.add_option("--model-version", f.model_version, "number that grows with every ciphertext of the model")
      .type_name("N");
  command.add_flag("--no-allow-finetune", f.no_allow_finetune, "do not let consumers train adapters on this model");
  command.add_flag("--allow-pickle", f.allow_pickle, "accept pickle weights (.bin, .pt, .pkl)");
  command.add_flag("--all-steps", f.all_steps, "every step, also those for which nothing was given");
  flags->skips.reserve(publish_step_names().size());
  for (const std::string& name : publish_step_names()) {
    auto& skip = flags->skips.emplace_back(name, false);
    command.add_flag("--skip-" + name, skip.second, "leave it out");
  }
  command.add_flag("-n,--dry-run", flags->dry_run, "print the plan, as the commands that would be run, and do nothing");
  command.add_flag("-y,--yes", flags->yes, "do not ask");
  command.add_option("--summary", flags->summary, "where the summary goes, JSON [in the directory]").type_name("FILE");
  add_store_flags(command, f);
  add_publish_control_plane(command, f);
  add_contract_flags(command, f);
  add_package_flags(command, f);
  command.callback(
      [&context, root, flags] { context.action = [&context, root, flags] { publish(*flags, root, context); }; });
}

}  // namespace tb::cli

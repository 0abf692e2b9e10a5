#include "cli/publish_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "asset/manifest.h"
#include "base/error.h"
#include "cli/oms.h"
#include "cli/paths.h"

namespace tb::cli {
namespace {

using Arguments = std::vector<std::string>;

constexpr std::string_view kFileStore = "file:";

constexpr auto kTermFlags = std::to_array<TermFlag>({
    {"--key-release", "wrapped or plain [wrapped]", "KIND"},
    {"--lease-seconds", "how long a lease lasts without renewal [300]", "N"},
    {"--offline-grace-seconds", "how long it runs on while we cannot be reached [0]", "N"},
    {"--allowed-path", "an HTTP path that callers may use; may be repeated", "HTTP-ROUTE", true},
    {"--runtime-isolation", "none or required", "KIND"},
    {"--authentication", "token, mtls or none [token]", "KIND"},
    {"--client-certificate", "SHA-256 of a certificate that sentinels show, for mtls; may be repeated", "HASH", true},
    {"--min-client-version", "oldest sentinel that may run it, as 0.2.0 [any]", "VERSION"},
});

struct Layout {
  std::string out, ciphertext, manifest, key, bundle, token, zip, draft;
};

Layout layout_of(const PublishFlags& f) {
  Layout at;
  at.out = f.out.empty() ? f.asset_id + ".publish" : f.out;
  at.ciphertext = at.out + "/model.tbenc";
  at.manifest = manifest_path_of(at.ciphertext);
  at.key = f.key_file.empty() ? key_path_of(at.ciphertext) : f.key_file;
  at.bundle = oms_bundle_path_of(at.ciphertext);
  at.token = f.activation_token_file.empty() ? at.out + "/activation.token" : f.activation_token_file;
  at.zip = f.output_zip.empty() ? at.out + "/trustbridge-app.zip" : f.output_zip;
  at.draft = at.out + "/draft.json";
  return at;
}

void add(Arguments& to, const char* flag, const std::string& value) {
  if (!value.empty()) to.insert(to.end(), {flag, value});
}

void add_if(Arguments& to, const char* flag, bool given) {
  if (given) to.emplace_back(flag);
}

void add_control_plane(Arguments& to, const PublishFlags& f) {
  add(to, "--edc-endpoint", f.edc_endpoint);
  add(to, "--token-file", f.token_file);
  add(to, "--ca-path", f.ca_path);
  add(to, "--profile", f.profile);
  add_if(to, "--allow-insecure-http", f.allow_insecure_http);
}

void add_place(Arguments& to, const PublishFlags& f) {
  add(to, "--storage-account", f.storage_account);
  if (f.storage_account.empty()) return;
  add(to, "--container", f.container);
  add(to, "--prefix", f.prefix);
  add(to, "--endpoint", f.endpoint);
}

void add_store_credentials(Arguments& to, const PublishFlags& f) {
  add(to, "--auth", f.auth);
  add(to, "--account-key-file", f.account_key_file);
  add(to, "--sas-file", f.sas_file);
  add(to, "--authorization-file", f.authorization_file);
}

void add_upload_target(Arguments& to, const PublishFlags& f) {
  add(to, "--store", f.store);
  add_place(to, f);
  add_store_credentials(to, f);
  add(to, "--parallel", f.parallel);
  add(to, "--max-bytes-per-second", f.max_bytes_per_second);
  add_if(to, "--create-container", f.create_container);
  if (f.store == "cp:") {
    add_control_plane(to, f);
  } else if (!f.store.starts_with(kFileStore)) {
    add(to, "--ca-path", f.ca_path);
  }
}

Step encrypt_step(const PublishFlags& f, const Layout& at) {
  Step step{.name = "encrypt", .arguments = {}, .inputs = {{"model", f.in, Seen::kTree}}, .outputs = {}, .once = true};
  Arguments& a = step.arguments;
  a = {"encrypt",     "--in",       f.in,        "--asset-id", f.asset_id, "--out",
       at.ciphertext, "--manifest", at.manifest, "--key-file", at.key};
  add(a, "--sign-key", f.sign_key);
  add(a, "--oms-key", f.oms_key);
  add(a, "--oms-certificates", f.oms_certificates);
  add(a, "--chunk-bytes", f.chunk_bytes);
  add(a, "--model-version", f.model_version);
  add_if(a, "--no-allow-finetune", f.no_allow_finetune);
  add_if(a, "--allow-pickle", f.allow_pickle);
  if (f.one_pass) {
    a.emplace_back("--upload");
    add_upload_target(a, f);
  }
  if (!f.sign_key.empty()) step.inputs.push_back({"signing key", f.sign_key, Seen::kStat});
  if (!f.oms_key.empty()) step.inputs.push_back({"model signing key", f.oms_key, Seen::kStat});
  if (!f.oms_certificates.empty()) step.inputs.push_back({"certificates", f.oms_certificates, Seen::kContent});
  step.outputs = {at.key, at.manifest};
  if (!f.oms_key.empty()) step.outputs.push_back(at.bundle);
  if (!f.one_pass) step.outputs.push_back(at.ciphertext);
  return step;
}

Step verify_step(const Layout& at) {
  return {.name = "verify",
          .arguments = {"verify", "--in", at.ciphertext, "--manifest", at.manifest, "--key-file", at.key},
          .inputs = {{"manifest", at.manifest, Seen::kContent}},
          .outputs = {},
          .once = false};
}

Step upload_step(const PublishFlags& f, const Layout& at) {
  Step step{.name = "upload",
            .arguments = {},
            .inputs = {{"manifest", at.manifest, Seen::kContent}},
            .outputs = {},
            .once = false};
  step.arguments = {"upload", "--encrypted-file", at.ciphertext, "--manifest", at.manifest, "--asset-id", f.asset_id};
  add_upload_target(step.arguments, f);
  if (f.store.starts_with(kFileStore)) {
    const std::string folder = f.store.substr(kFileStore.size()) + "/models/" + f.asset_id;
    step.outputs = {folder + "/model.manifest.json", folder + "/model.tbenc"};
    step.forces = true;
  }
  return step;
}

Step register_step(const PublishFlags& f, const Layout& at) {
  Step step{.name = "register",
            .arguments = {},
            .inputs = {{"manifest", at.manifest, Seen::kContent}},
            .outputs = {},
            .once = false};
  Arguments& a = step.arguments;
  a = {"register", "--manifest", at.manifest, "--asset-id", f.asset_id, "--key-file", at.key};
  if (!f.blob_url.empty()) {
    add(a, "--blob-url", f.blob_url);
    add(a, "--manifest-url", f.manifest_url);
  } else if (f.store == "cp:") {
    add(a, "--store", "cp:");
  } else {
    add_place(a, f);
  }
  add_control_plane(a, f);
  add(a, "--control-plane-key", f.control_plane_key);
  add(a, "--tenant", f.tenant);
  return step;
}

/// Sentinels that show a certificate, or nothing, are given no token.
bool has_token(const PublishFlags& f) {
  const auto kind = f.terms.find("--authentication");
  return kind == f.terms.end() || kind->second.empty() || kind->second.front() == "token";
}

Step contract_step(const PublishFlags& f, const Layout& at) {
  Step step{.name = "contract", .arguments = {}, .inputs = {}, .outputs = {}, .once = true};
  Arguments& a = step.arguments;
  a = {"contract", "create", "--contract-id", f.contract_id, "--consumer", f.consumer, "--asset-id", f.asset_id};
  add(a, "--not-before", f.not_before);
  add(a, "--not-after", f.not_after);
  add(a, "--max-seats", f.max_seats);
  for (const std::string& id : f.hardware) add(a, "--hardware", id);
  add(a, "--attestation", f.attestation);
  add(a, "--attestation-policy", f.attestation_policy);
  add(a, "--quotas", f.quotas);
  add(a, "--metering", f.metering);
  add(a, "--marketplace", f.marketplace);
  for (const TermFlag& flag : kTermFlags) {
    const auto values = f.terms.find(flag.name);
    if (values == f.terms.end()) continue;
    for (const std::string& value : values->second) add(a, flag.name, value);
  }
  if (has_token(f)) {
    add(a, "--activation-token-file", at.token);
    step.outputs.push_back(at.token);
  }
  add_control_plane(a, f);
  add(a, "--control-plane-key", f.control_plane_key);
  for (const auto& [label, path] : {std::pair("attestation policy", f.attestation_policy),
                                    {"quotas", f.quotas},
                                    {"metering", f.metering},
                                    {"marketplace", f.marketplace}}) {
    if (!path.empty()) step.inputs.push_back({label, path, Seen::kContent});
  }
  return step;
}

Step build_step(const PublishFlags& f) {
  Step step{.name = "build", .arguments = {"build"}, .inputs = {}, .outputs = {}, .once = false};
  Arguments& a = step.arguments;
  add(a, "--registry", f.registry);
  add(a, "--image-name", f.image_name);
  add(a, "--tag", f.tag);
  add(a, "--sentinel-binary", f.sentinel_binary);
  add(a, "--base-image", f.base_image);
  add_if(a, "--no-push", f.no_push);
  add(a, "--oci-layout", f.oci_layout);
  add(a, "--auth-file", f.auth_file);
  add(a, "--ca-path", f.ca_path);
  if (!f.sentinel_binary.empty()) step.inputs.push_back({"sentinel", f.sentinel_binary, Seen::kContent});
  return step;
}

/// A package names its image by digest, so that nobody can put another one under a tag.
std::string image_of(const PublishFlags& f) {
  if (!f.image.empty()) return f.image;
  const std::string name = f.image_name.empty() ? "trustbridge-runtime" : f.image_name;  // as build calls it
  return fmt::format("{}/{}@{}", f.registry, name, kDigestOfBuild);
}

Step package_step(const PublishFlags& f, const Layout& at) {
  Step step{.name = "package", .arguments = {}, .inputs = {}, .outputs = {at.zip}, .once = false};
  step.arguments = {"package", "--asset-id", f.asset_id, "--image", image_of(f)};
  add(step.arguments, "--edc-endpoint", f.edc_endpoint);
  add(step.arguments, "--control-plane-key", f.control_plane_key);
  add(step.arguments, "--contract-id", f.contract_id);
  if (f.attestation == "none" || f.attestation == "tpm") add(step.arguments, "--attestation", f.attestation);
  for (const std::string& dimension : f.dimensions) add(step.arguments, "--billing", dimension);
  if (!f.dimensions.empty()) add(step.arguments, "--billing-plan", f.plan_id);
  add(step.arguments, "--output-zip", at.zip);
  step.forces = true;
  return step;
}

Step draft_step(const PublishFlags& f, const Layout& at) {
  Step step = {.name = "draft",
               .arguments = {},
               .inputs = {{"package", at.zip, Seen::kContent}},
               .outputs = {at.draft},
               .once = false};
  step.facts = fmt::format("{}\n{}\n{}", f.offer_id, f.plan_id, fmt::join(f.dimensions, "\n"));
  return step;
}

/// Which steps were asked for, by name.
std::vector<std::string> chosen(const PublishFlags& f) {
  const bool builds = !f.registry.empty() || !f.oci_layout.empty();
  std::vector<std::string> names;
  for (const std::string& name : publish_step_names()) {
    bool wanted = f.all_steps;
    if (name == "encrypt") wanted = true;
    if (name == "verify") wanted = !f.one_pass;
    if (name == "upload") wanted = !f.one_pass && (f.all_steps || !f.store.empty() || !f.storage_account.empty());
    if (name == "register")
      wanted = f.all_steps || !f.store.empty() || !f.storage_account.empty() || !f.blob_url.empty();
    if (name == "contract") wanted |= !f.consumer.empty() || !f.contract_id.empty();
    if (name == "build") wanted |= builds;
    if (name == "package" || name == "draft") wanted |= builds || !f.image.empty();
    if (wanted && std::ranges::find(f.skipped, name) == f.skipped.end()) names.push_back(name);
  }
  return names;
}

bool begins_with_dash(const PublishFlags& f) {
  const auto dash = [](const std::string& value) { return value.starts_with('-'); };
  const std::string* const values[] = {&f.in,
                                       &f.out,
                                       &f.key_file,
                                       &f.sign_key,
                                       &f.oms_key,
                                       &f.oms_certificates,
                                       &f.chunk_bytes,
                                       &f.model_version,
                                       &f.store,
                                       &f.storage_account,
                                       &f.container,
                                       &f.prefix,
                                       &f.endpoint,
                                       &f.blob_url,
                                       &f.manifest_url,
                                       &f.edc_endpoint,
                                       &f.token_file,
                                       &f.ca_path,
                                       &f.control_plane_key,
                                       &f.tenant,
                                       &f.profile,
                                       &f.contract_id,
                                       &f.consumer,
                                       &f.not_before,
                                       &f.not_after,
                                       &f.max_seats,
                                       &f.attestation,
                                       &f.attestation_policy,
                                       &f.quotas,
                                       &f.metering,
                                       &f.marketplace,
                                       &f.activation_token_file,
                                       &f.registry,
                                       &f.image_name,
                                       &f.tag,
                                       &f.sentinel_binary,
                                       &f.base_image,
                                       &f.oci_layout,
                                       &f.image,
                                       &f.output_zip,
                                       &f.auth,
                                       &f.account_key_file,
                                       &f.sas_file,
                                       &f.authorization_file,
                                       &f.parallel,
                                       &f.max_bytes_per_second,
                                       &f.auth_file,
                                       &f.plan_id};
  return std::ranges::any_of(values, [&](const std::string* value) { return dash(*value); }) ||
         std::ranges::any_of(f.terms, [&](const auto& term) { return std::ranges::any_of(term.second, dash); }) ||
         std::ranges::any_of(f.hardware, dash) || std::ranges::any_of(f.dimensions, dash);
}

void check(const PublishFlags& f, const std::vector<std::string>& names) {
  std::vector<std::string> faults;
  const auto has = [&](const char* name) { return std::ranges::find(names, name) != names.end(); };
  const auto need = [&](bool given, const char* what) {
    if (!given) faults.emplace_back(what);
  };
  need(asset::is_asset_id(f.asset_id), "--asset-id must be 1 to 100 letters, digits, _ or -");
  if (has("encrypt")) need(!f.in.empty(), "encrypt needs the model");
  if (has("upload") || f.one_pass) {
    need(f.store.empty() != f.storage_account.empty(), "upload needs one of --store and --storage-account");
    need(!f.one_pass || !f.store.starts_with(kFileStore), "--one-pass sends over the network: not to a file: store");
  }
  if (has("register")) {
    need(f.store == "cp:" || !f.storage_account.empty() || !f.blob_url.empty(),
         "register needs --blob-url where the store is neither cp: nor an account");
  }
  if (has("contract")) {
    need(!f.contract_id.empty(), "contract needs --contract-id: by it a contract is found again");
    need(!f.consumer.empty(), "contract needs --consumer");
    need(!f.not_after.empty(), "contract needs --not-after");
  }
  if (has("build")) need(!f.registry.empty() || !f.oci_layout.empty(), "build needs --registry or --oci-layout");
  if (has("package")) {
    need(!f.edc_endpoint.empty(), "package needs --edc-endpoint");
    need(!f.image.empty() || (has("build") && !f.registry.empty()), "package needs --image, or build with --registry");
    need(!f.image.empty() || !f.base_image.empty(),
         "package needs --image or --base-image: without them there is no model server in its image");
    need(f.dimensions.empty() || !f.plan_id.empty(), "--dimension needs --plan-id");
  }
  if (has("draft")) need(has("package") || !f.output_zip.empty(), "draft needs the package, or --output-zip");
  for (const std::string* url : {&f.blob_url, &f.manifest_url}) {
    need(url->find('?') == std::string::npos, "--blob-url and --manifest-url take no query: it may be a signature");
  }
  need(!names.empty(), "every step is skipped");
  // It would be read as a flag by the step's command.
  need(!begins_with_dash(f), "a value begins with a dash: write a path as ./-name");
  if (!faults.empty()) throw Error("usage", fmt::format("{}", fmt::join(faults, "; ")));
}

}  // namespace

std::span<const TermFlag> contract_term_flags() {
  return kTermFlags;
}

const std::vector<std::string>& publish_step_names() {
  static const std::vector<std::string> names = {"encrypt",  "verify", "upload",  "register",
                                                 "contract", "build",  "package", "draft"};
  return names;
}

const Step* PublishPlan::find(std::string_view name) const {
  const auto step = std::ranges::find(steps, name, &Step::name);
  return step == steps.end() ? nullptr : &*step;
}

Step with_digest(Step step, const std::string& image_digest) {
  if (image_digest.empty()) return step;
  for (std::string& argument : step.arguments) {
    if (argument.ends_with(kDigestOfBuild)) {
      argument.replace(argument.size() - kDigestOfBuild.size(), kDigestOfBuild.size(), image_digest);
    }
  }
  return step;
}

PublishPlan plan_publish(const PublishFlags& f) {
  const std::vector<std::string> names = chosen(f);
  check(f, names);
  const Layout at = layout_of(f);
  PublishPlan plan{f.asset_id, at.out, {}};
  for (const std::string& name : names) {
    if (name == "encrypt") plan.steps.push_back(encrypt_step(f, at));
    if (name == "verify") plan.steps.push_back(verify_step(at));
    if (name == "upload") plan.steps.push_back(upload_step(f, at));
    if (name == "register") plan.steps.push_back(register_step(f, at));
    if (name == "contract") plan.steps.push_back(contract_step(f, at));
    if (name == "build") plan.steps.push_back(build_step(f));
    if (name == "package") plan.steps.push_back(package_step(f, at));
    if (name == "draft") plan.steps.push_back(draft_step(f, at));
  }
  return plan;
}

std::string command_line(const std::vector<std::string>& arguments) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  std::string line = "trustbridge";
  for (const std::string& argument : arguments) {
    line += ' ';
    if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) {
      line += argument;
      continue;
    }
    line += '\'';
    for (const char c : argument) c == '\'' ? line += "'\\''" : line += c;
    line += '\'';
  }
  return line;
}

}  // namespace tb::cli

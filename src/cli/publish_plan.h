// What `publish` will do, before anything is done: an ordered list of command lines of this very program. A pure
// function of the flags: no file is looked at. What a person reads with --dry-run is what is run.
//
// No argument is ever a secret: keys and tokens go by file, and a URL with a query is refused, because it may be
// signed.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tb::cli {

struct PublishFlags {
  std::string in, asset_id;
  std::string out;       ///< directory; empty: `<asset_id>.publish`
  std::string key_file;  ///< empty: in `out`
  std::string sign_key, oms_key, oms_certificates, chunk_bytes, model_version;
  bool allow_pickle = false, no_allow_finetune = false, one_pass = false;
  // Where the ciphertext goes, and how sentinels find it.
  std::string store, storage_account, container, prefix, endpoint, blob_url, manifest_url;
  std::string auth, account_key_file, sas_file, authorization_file;
  std::string parallel, max_bytes_per_second;
  bool create_container = false;
  // Which control plane; empty where environment or profile say it.
  std::string edc_endpoint, token_file, ca_path, control_plane_key, tenant, profile;
  bool allow_insecure_http = false;
  // The first contract.
  std::string contract_id, consumer, not_before, not_after, max_seats, attestation, attestation_policy, quotas,
      metering, marketplace;
  std::vector<std::string> hardware;
  std::map<std::string, std::vector<std::string>> terms;  ///< by a flag of contract_term_flags()
  std::string activation_token_file;                      ///< empty: in `out`
  // Image and package.
  std::string registry, image_name, tag = "latest", sentinel_binary, base_image, oci_layout;
  std::string image, output_zip;
  std::string auth_file;  ///< registry logins
  bool no_push = false;
  std::string offer_id, plan_id;
  std::vector<std::string> dimensions;

  bool all_steps = false;
  std::vector<std::string> skipped;  ///< names of steps
};

/// A flag of `contract create` that is passed on as it is.
struct TermFlag {
  const char *name, *text, *type;
  bool repeats = false;
};
std::span<const TermFlag> contract_term_flags();

/// How a change of an input is noticed.
enum class Seen {
  kContent,  ///< SHA-256 of the file: manifests, policies
  kStat,     ///< size and time: private keys, whose digest is nobody's business
  kTree,     ///< names, sizes and times of all files below: a model, too large to read for this
};

struct StepInput {
  std::string label;  ///< what a person calls it: "model", "manifest"
  std::string path;
  Seen seen = Seen::kContent;
};

struct Step {
  std::string name;
  std::vector<std::string> arguments;  ///< without the program; empty for `draft`, which publish writes itself
  std::vector<StepInput> inputs;       ///< beside the arguments
  std::string facts;                   ///< of `draft`, in the place of arguments: what the flags say
  std::vector<std::string> outputs;    ///< files that appear whole, the last one when it is done
  bool once = false;                   ///< never done again with changed inputs: what it made is in use
  bool forces = false;                 ///< takes --force to replace an output of its own
};

/// Stands in an argument for the digest of the image that `build` has yet to make.
inline constexpr std::string_view kDigestOfBuild = "sha256:DIGEST-OF-BUILD";

struct PublishPlan {
  std::string asset_id, out;
  std::vector<Step> steps;
  const Step* find(std::string_view name) const;
};

/// All names in their order: encrypt, verify, upload, register, contract, build, package, draft.
const std::vector<std::string>& publish_step_names();

/// The step with the digest of the image put in, where `image_digest` knows it.
Step with_digest(Step step, const std::string& image_digest);

/// Without --all-steps, a step for which nothing was given is not in the plan. Throws "usage", all that is missing in
/// one.
PublishPlan plan_publish(const PublishFlags& flags);

/// `trustbridge encrypt 'my model' …`: as a shell of a person takes it.
std::string command_line(const std::vector<std::string>& arguments);

}  // namespace tb::cli

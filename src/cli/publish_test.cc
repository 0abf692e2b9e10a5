#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "cli/publish_draft.h"
#include "cli/publish_inputs.h"
#include "cli/publish_plan.h"
#include "cli/publish_run.h"
#include "cli/publish_state.h"

namespace tb::cli {
namespace {

PublishFlags model() {
  PublishFlags flags;
  flags.in = "m";
  flags.asset_id = "a";
  return flags;
}

std::vector<std::string> names(const PublishFlags& flags) {
  std::vector<std::string> out;
  for (const Step& step : plan_publish(flags).steps) out.push_back(step.name);
  return out;
}

std::string refusal(const PublishFlags& flags) {
  try {
    plan_publish(flags);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "usage");
    return error.message;
  }
}

std::string line(const PublishFlags& flags, std::string_view step) {
  return command_line(plan_publish(flags).find(step)->arguments);
}

using Names = std::vector<std::string>;

TEST(PublishPlan, HasTheStepsForWhichSomethingWasGiven) {
  PublishFlags flags = model();
  EXPECT_EQ(names(flags), (Names{"encrypt", "verify"}));
  flags.store = "cp:";
  EXPECT_EQ(names(flags), (Names{"encrypt", "verify", "upload", "register"}));
  flags.contract_id = "c";
  flags.consumer = "acme";
  flags.not_after = "30d";
  EXPECT_EQ(names(flags), (Names{"encrypt", "verify", "upload", "register", "contract"}));
  flags.registry = "r.example";
  flags.base_image = "vllm:1";
  flags.edc_endpoint = "https://cp.example";
  EXPECT_EQ(names(flags), publish_step_names());
  flags.skipped = {"verify", "build", "draft"};
  EXPECT_NE(refusal(flags).find("package needs --image"), std::string::npos);
  flags.image = "r.example/i@sha256:ab";
  EXPECT_EQ(names(flags), (Names{"encrypt", "upload", "register", "contract", "package"}));
  flags.one_pass = true;
  EXPECT_EQ(names(flags), (Names{"encrypt", "register", "contract", "package"}));
}

TEST(PublishPlan, ReadsAsCommandsOfWireSection3) {
  PublishFlags flags = model();
  flags.in = "my model's";
  flags.storage_account = "acct";
  flags.container = "models";
  flags.registry = "r.example:5000";
  flags.tag = "v1";
  flags.base_image = "vllm:1";
  flags.edc_endpoint = "https://cp.example";
  EXPECT_EQ(line(flags, "encrypt"),
            "trustbridge encrypt --in 'my model'\\''s' --asset-id a --out a.publish/model.tbenc --manifest "
            "a.publish/model.manifest.json --key-file a.publish/model.tbenc.key");
  EXPECT_EQ(line(flags, "upload"),
            "trustbridge upload --encrypted-file a.publish/model.tbenc --manifest a.publish/model.manifest.json "
            "--asset-id a --storage-account acct --container models");
  EXPECT_EQ(line(flags, "register"),
            "trustbridge register --manifest a.publish/model.manifest.json --asset-id a --key-file "
            "a.publish/model.tbenc.key --storage-account acct --container models --edc-endpoint https://cp.example");
  EXPECT_EQ(line(flags, "build"), "trustbridge build --registry r.example:5000 --tag v1 --base-image vllm:1");
  EXPECT_EQ(line(flags, "package"),
            "trustbridge package --asset-id a --image r.example:5000/trustbridge-runtime@sha256:DIGEST-OF-BUILD "
            "--edc-endpoint https://cp.example --output-zip a.publish/trustbridge-app.zip");
  EXPECT_EQ(with_digest(*plan_publish(flags).find("package"), "sha256:ab").arguments.at(4),
            "r.example:5000/trustbridge-runtime@sha256:ab");
  flags.one_pass = true;
  EXPECT_TRUE(line(flags, "encrypt").ends_with("--upload --storage-account acct --container models"));
}

TEST(PublishPlan, PassesTermsOnToTheContract) {
  PublishFlags flags = model();
  flags.contract_id = "c";
  flags.consumer = "acme";
  flags.not_after = "30d";
  flags.terms = {{"--lease-seconds", {"60"}}, {"--allowed-path", {"/v1/a", "/v1/b"}}, {"--key-release", {}}};
  EXPECT_EQ(
      line(flags, "contract"),
      "trustbridge contract create --contract-id c --consumer acme --asset-id a --not-after 30d --lease-seconds 60 "
      "--allowed-path /v1/a --allowed-path /v1/b --activation-token-file a.publish/activation.token");
  flags.terms = {{"--authentication", {"mtls"}}, {"--client-certificate", {"ab"}}};
  EXPECT_TRUE(line(flags, "contract").ends_with("--authentication mtls --client-certificate ab")) << "no token comes";
  EXPECT_TRUE(plan_publish(flags).find("contract")->outputs.empty());
  flags.terms = {};
  flags.metering = "counted.json";
  flags.marketplace = "billed.json";
  const PublishPlan plan = plan_publish(flags);
  EXPECT_NE(line(flags, "contract").find(" --metering counted.json --marketplace billed.json"), std::string::npos);
  EXPECT_EQ(std::ranges::count(plan.find("contract")->inputs, "billed.json", &StepInput::path), 1) << "its content is looked at";
  flags.terms = {{"--allowed-path", {"/v1/a", "--x"}}};
  EXPECT_NE(refusal(flags).find("begins with a dash"), std::string::npos);
}

TEST(PublishPlan, TheWayToAPlaceIsNoInputOfWhatIsDoneOnce) {
  PublishFlags flags = model();
  flags.storage_account = "acct";
  flags.contract_id = "c";
  flags.consumer = "acme";
  flags.not_after = "30d";
  flags.one_pass = true;
  PublishFlags other = flags;
  other.sas_file = "sas";
  other.parallel = "4";
  other.max_bytes_per_second = "1000000";
  other.token_file = "token";
  other.ca_path = "ca.pem";
  other.create_container = other.allow_insecure_http = true;
  const auto of = [](const PublishFlags& f, const char* step) {
    return fingerprints_of(*plan_publish(f).find(step)).at("arguments");
  };
  EXPECT_EQ(of(flags, "encrypt"), of(other, "encrypt"));
  EXPECT_EQ(of(flags, "contract"), of(other, "contract"));
  EXPECT_NE(of(flags, "register"), of(other, "register")) << "another token may be another tenant's: it is done again";
  other.container = "elsewhere";
  EXPECT_NE(of(flags, "encrypt"), of(other, "encrypt"));
  other = flags;
  flags.one_pass = other.one_pass = false;
  other.parallel = "4";
  EXPECT_EQ(of(flags, "upload"), of(other, "upload"));
  other.endpoint = "https://elsewhere.example";
  EXPECT_NE(of(flags, "upload"), of(other, "upload"));
}

TEST(PublishPlan, TakesTheAuthoritiesToEveryPlaceOverTheNetwork) {
  PublishFlags flags = model();
  flags.ca_path = "ca.pem";
  flags.registry = "r.example";
  flags.base_image = "vllm:1";
  flags.auth_file = "logins.json";
  flags.edc_endpoint = "https://cp.example";
  flags.storage_account = "acct";
  for (const char* step : {"upload", "register", "build"}) {
    EXPECT_NE(line(flags, step).find("--ca-path ca.pem"), std::string::npos) << step;
  }
  EXPECT_NE(line(flags, "build").find("--auth-file logins.json"), std::string::npos);
  flags.storage_account.clear();
  flags.store = "file:d";
  flags.blob_url = "https://x.example/m";
  EXPECT_EQ(line(flags, "upload").find("--ca-path"), std::string::npos);
}

TEST(PublishPlan, NamesEverythingThatIsMissing) {
  PublishFlags flags = model();
  flags.in.clear();
  flags.all_steps = true;
  const std::string told = refusal(flags);
  for (const char* part : {"the model", "--store", "--blob-url", "--contract-id", "--consumer", "--not-after",
                           "--registry", "--edc-endpoint", "no model server"}) {
    EXPECT_NE(told.find(part), std::string::npos) << part << ": " << told;
  }
  flags = model();
  flags.store = "cp:";
  flags.storage_account = "acct";
  EXPECT_NE(refusal(flags).find("one of --store and --storage-account"), std::string::npos);
  flags = model();
  flags.blob_url = "https://x.example/m?sig=abc";
  EXPECT_NE(refusal(flags).find("no query"), std::string::npos);
  EXPECT_EQ(refusal(flags).find("abc"), std::string::npos);
  flags = model();
  flags.one_pass = true;
  flags.store = "file:d";
  EXPECT_NE(refusal(flags).find("over the network"), std::string::npos);
  flags = model();
  flags.in = "-rf";
  EXPECT_NE(refusal(flags).find("begins with a dash"), std::string::npos);
  flags = model();
  flags.skipped = {"encrypt", "verify"};
  EXPECT_NE(refusal(flags).find("every step is skipped"), std::string::npos);
  flags = model();
  flags.image = "i";
  flags.edc_endpoint = "https://cp.example";
  flags.skipped = {"package"};
  EXPECT_NE(refusal(flags).find("draft needs the package"), std::string::npos);
}

TEST(PublishPlan, NoHostileNameLeavesItsArgument) {
  for (const char* name : {"$(reboot)", "a;b", "`x`", "a\nb", "-rf", "--", "", "ü"}) {
    const std::string printed = command_line({name});
    EXPECT_TRUE(printed == std::string("trustbridge '") + name + "'" || printed == std::string("trustbridge ") + name)
        << printed;
    if (std::string_view(name).find_first_of("$;`\n") != std::string_view::npos) {
      EXPECT_TRUE(printed.ends_with('\'')) << printed;
    }
  }
}

PublishState some_state() {
  return {"a",
          {{"encrypt", true, {{"arguments", "1"}, {"model", "2"}}, {"/w/k"}, {{"sha256_ciphertext", "ab"}}},
           {"contract", false, {{"arguments", "3"}}, {}, {}}}};
}

TEST(PublishStateFile, IsReadAsItIsWritten) {
  EXPECT_EQ(PublishState::parse(some_state().text()), some_state());
}

TEST(PublishStateFile, RefusesEveryOtherForm) {
  const auto replaced = [](std::string_view from, std::string_view to) {
    std::string text = some_state().text();
    EXPECT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), from.size(), to);
    try {
      PublishState::parse(text);
      return std::string("ok");
    } catch (const Error& error) {
      return error.reason;
    }
  };
  const std::string refused = "publish_state_malformed";
  EXPECT_EQ(replaced("\"version\": 1", "\"version\": 2"), refused);
  EXPECT_EQ(replaced("\"version\": 1,", ""), refused);
  EXPECT_EQ(replaced("\"version\": 1", "\"version\": 1, \"more\": 1"), refused);
  EXPECT_EQ(replaced("\"done\"", "\"half\""), refused);
  EXPECT_EQ(replaced("\"contract\"", "\"encrypt\""), refused) << "twice";
  EXPECT_EQ(replaced("\"arguments\": \"3\"", "\"model\": \"3\""), refused);
  EXPECT_EQ(replaced("\"arguments\": \"3\"", "\"arguments\": 3"), refused);
  EXPECT_EQ(replaced("\"/w/k\"", "7"), refused);
  EXPECT_EQ(replaced("}\n", "} x"), refused);
}

TEST(PublishStanding, SaysWhichInputsAreOthers) {
  const PublishState state = some_state();
  const StepRecord* encrypt = state.find("encrypt");
  EXPECT_EQ(standing_of(nullptr, {{"arguments", "1"}}).standing, Standing::kToDo);
  EXPECT_EQ(standing_of(encrypt, {{"arguments", "1"}, {"model", "2"}}).standing, Standing::kDone);
  const StepStanding changed = standing_of(encrypt, {{"arguments", "1"}, {"model", "x"}, {"policy", "y"}});
  EXPECT_EQ(changed.standing, Standing::kStale);
  EXPECT_EQ(changed.changed, (Names{"model", "policy"}));
  EXPECT_EQ(standing_of(encrypt, {{"arguments", "1"}}).changed, (Names{"model"}));
  EXPECT_EQ(standing_of(state.find("contract"), {{"arguments", "3"}}).standing, Standing::kInterrupted);
}

TEST(PublishSettled, PutsTheDigestOfTheImageThatWasBuiltIntoThePackage) {
  PublishFlags flags = model();
  flags.registry = "r.example";
  flags.base_image = "vllm:1";
  flags.edc_endpoint = "https://cp.example";
  const Step package = *plan_publish(flags).find("package");
  PublishState state = some_state();
  EXPECT_EQ(settled(package, state).arguments, package.arguments);
  state.put({"build", false, {{"arguments", "1"}}, {}, {{"digest", "sha256:ab"}}});
  EXPECT_EQ(settled(package, state).arguments, package.arguments) << "begun is not done";
  state.find("build")->done = true;
  EXPECT_EQ(settled(package, state).arguments.at(4), "r.example/trustbridge-runtime@sha256:ab");
}

TEST(PublishDraft, SaysWhatIsKnownAndWhatAPersonEnters) {
  PublishFlags flags = model();
  flags.image = "i";
  flags.edc_endpoint = "https://cp.example";
  flags.plan_id = "standard";
  flags.dimensions = {"tokens"};
  const Json draft = marketplace_draft(flags, plan_publish(flags), some_state(), "abcd");
  EXPECT_TRUE(draft.find("offer")->find("offer_id")->is_null());
  EXPECT_EQ(draft.find("plan")->find("plan_id")->as_string(), "standard");
  EXPECT_EQ(draft.find("plan")->find("package")->find("sha256")->as_string(), "abcd");
  EXPECT_EQ(draft.find("plan")->find("dimensions")->as_array().size(), 1U);
  EXPECT_GE(draft.find("entered_by_a_person")->as_array().size(), 8U);
  EXPECT_EQ(draft.find("published")->find("encrypt")->find("sha256_ciphertext")->as_string(), "ab");
  EXPECT_EQ(draft.find("published")->find("contract"), nullptr) << "it is not done";
}

}  // namespace
}  // namespace tb::cli

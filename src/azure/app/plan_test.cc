// What a deployment of our template makes of given parameters, and what a plan refuses.
#include "azure/app/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "azure/app/archive.h"
#include "azure/app/evaluate.h"
#include "base/error.h"

namespace tb::azure {
namespace {

const std::string kDigest = "@sha256:" + std::string(64, 'a');
constexpr std::string_view kHostile = "x'\"\n  - [sh, -c, reboot]\n$(reboot)`reboot`]}{0}@API_KEY@";

AppPlan plan() {
  return {.asset_id = "llama-8b",
          .runtime_image = "registry.example.com:5000/acme/runtime" + kDigest,
          .sentinel_image = "registry.example.com/acme/sentinel" + kDigest,
          .control_plane_url = "https://cp.example.com/base",
          .billing_dimensions = {},
          .billing_plan_id = {}};
}

// The resources and outputs of a deployment, by type or name.
class Deployment {
 public:
  Deployment(const AppPlan& of, Json parameters) : main_(parsed(app_files(checked(of)).at("mainTemplate.json"))) {
    DeploymentFacts facts;
    facts.parameters = std::move(parameters);
    facts.resource_group =
        Json::object()
            .set("name", "mrg")
            .set("id", "/subscriptions/s/resourceGroups/mrg")
            .set("location", "westeurope")
            .set("managedBy", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Solutions/applications/app");
    facts.subscription = Json::object().set("subscriptionId", "s");
    const std::string providers = "/subscriptions/s/resourceGroups/mrg/providers/";
    facts.references[providers + "Microsoft.ManagedIdentity/userAssignedIdentities/trustbridge-identity"] =
        Json::object().set("clientId", "11111111-2222-3333-4444-555555555555").set("principalId", "principal");
    facts.references[providers + "Microsoft.Network/publicIPAddresses/trustbridge-ip"] =
        parsed(R"({"dnsSettings": {"fqdn": "tb-x.westeurope.cloudapp.azure.com"}})");
    facts.references[providers + "Microsoft.Network/networkInterfaces/trustbridge-nic"] =
        parsed(R"({"ipConfigurations": [{"properties": {"privateIPAddress": "10.80.0.4"}}]})");
    Evaluator evaluator(main_, facts);
    resources_ = evaluator.value(*main_.find("resources"));
    outputs_ = evaluator.value(*main_.find("outputs"));
  }

  const Json& resource(std::string_view type) const {
    for (const Json& one : resources_.as_array()) {
      if (one.find("type")->as_string() == type) return *one.find("properties");
    }
    throw Error("not_found", std::string(type));
  }
  const Json& vm() const { return resource("Microsoft.Compute/virtualMachines"); }
  std::string custom_data() const { return decoded(vm().find("osProfile")->find("customData")->as_string()); }
  // deployment.json as the machine finds it.
  Json chosen() const {
    const std::string data = custom_data();
    const std::string_view before = "content: \"";
    const std::size_t from = data.find(before) + before.size();
    return parsed(decoded(data.substr(from, data.find('"', from) - from)));
  }
  std::string secrets_script() const {
    return decoded(resource("Microsoft.Compute/virtualMachines/extensions")
                       .find("protectedSettings")
                       ->find("script")
                       ->as_string());
  }
  const Json& outputs() const { return outputs_; }
  const Json& resources() const { return resources_; }

 private:
  static Json parsed(std::string_view text) {
    return value_or_throw(Json::parse(text, {.bytes = kMaxFileBytes, .depth = 32}));
  }
  static std::string decoded(std::string_view text) {
    return std::string(as_text(ByteView(value_or_throw(from_base64(text)))));
  }

  Json main_, resources_, outputs_;
};

Json parameters() {
  Json out = Json::object();
  out.set("contractId", "acme-1").set("activationToken", "token-of-the-contract").set("apiKey", std::string(40, 'k'));
  Json ranges = Json::array();
  ranges.push("203.0.113.0/24");
  ranges.push("10.0.0.0/8");
  out.set("clientRanges", ranges);
  return out;
}

TEST(AppTemplate, OpensOnePortToTheChosenRangesOnly) {
  const Deployment deployment(plan(), parameters());
  const Json::Array& rules =
      deployment.resource("Microsoft.Network/networkSecurityGroups").find("securityRules")->as_array();
  ASSERT_EQ(rules.size(), 3U);
  const auto of = [&](std::size_t i, std::string_view name) { return rules[i].find("properties")->find(name)->dump(); };
  EXPECT_EQ(of(0, "access") + of(0, "destinationPortRange") + of(0, "sourceAddressPrefixes"),
            R"("Allow""8000"["203.0.113.0/24","10.0.0.0/8"])");
  EXPECT_EQ(of(1, "access") + of(1, "destinationPortRange"), R"("Deny""22")");
  EXPECT_EQ(of(2, "access") + of(2, "destinationPortRange") + of(2, "priority"), R"("Deny""*"4096)");
}

TEST(AppTemplate, OpensSshOnlyForAKeyAndARange) {
  Json with_key = parameters();
  with_key.set("sshPublicKey", "ssh-ed25519 AAAA");
  const auto access = [](const Deployment& deployment) {
    return deployment.resource("Microsoft.Network/networkSecurityGroups")
        .find("securityRules")
        ->as_array()[1]
        .find("properties")
        ->find("access")
        ->as_string();
  };
  const Deployment key_only(plan(), with_key);
  EXPECT_EQ(access(key_only), "Deny");
  EXPECT_TRUE(
      key_only.vm().find("osProfile")->find("linuxConfiguration")->find("disablePasswordAuthentication")->as_bool());
  EXPECT_TRUE(key_only.vm().find("osProfile")->find("adminPassword")->is_null());
  Json range_only = parameters();
  range_only.set("sshRange", "203.0.113.7/32");
  EXPECT_EQ(access(Deployment(plan(), range_only)), "Deny");
  with_key.set("sshRange", "203.0.113.7/32");
  EXPECT_EQ(access(Deployment(plan(), with_key)), "Allow");
}

TEST(AppTemplate, MakesConfidentialMachinesOfConfidentialSizes) {
  const auto facts = [](const char* size) {
    Json chosen = parameters();
    chosen.set("vmSize", size);
    const Deployment deployment(plan(), chosen);
    const Json& vm = deployment.vm();
    const Json* disk = vm.find("storageProfile")->find("osDisk")->find("managedDisk")->find("securityProfile");
    return vm.find("securityProfile")->dump() +
           vm.find("storageProfile")->find("imageReference")->find("sku")->as_string() +
           (disk == nullptr ? "" : disk->dump());
  };
  EXPECT_EQ(
      facts("Standard_NCC40ads_H100_v5"),
      R"({"securityType":"ConfidentialVM","uefiSettings":{"secureBootEnabled":true,"vTpmEnabled":true}}cvm{"securityEncryptionType":"DiskWithVMGuestState"})");
  EXPECT_EQ(facts("Standard_NC40ads_H100_v5"),
            R"({"securityType":"TrustedLaunch","uefiSettings":{"secureBootEnabled":true,"vTpmEnabled":true}}server)");
}

TEST(AppTemplate, BringsChoicesToTheMachineAsData) {
  AppPlan with_billing = plan();
  with_billing.billing_dimensions = {"requests", "tokens"};
  with_billing.billing_plan_id = "metered";
  with_billing.control_plane_key = std::string(43, 'A');
  const Json chosen = Deployment(with_billing, parameters()).chosen();
  const auto is = [&](std::string_view name) {
    return chosen.find(name) == nullptr ? "absent" : chosen.find(name)->as_string();
  };
  EXPECT_EQ(is("assetId"), "llama-8b");
  EXPECT_EQ(is("contractId"), "acme-1");
  EXPECT_EQ(is("controlPlaneUrl"), "https://cp.example.com/base");
  EXPECT_EQ(is("billingDimensions"), "requests,tokens");
  EXPECT_EQ(is("billingPlanId"), "metered");
  EXPECT_EQ(is("billingResourceId"),
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Solutions/applications/app");
  EXPECT_EQ(is("identityClientId"), "11111111-2222-3333-4444-555555555555");
  const Json without = Deployment(plan(), parameters()).chosen();
  for (std::string_view name : {"billingDimensions", "billingPlanId", "billingResourceId", "controlPlaneKey"}) {
    EXPECT_EQ(without.find(name), nullptr) << name;
  }
}

// Whatever a consumer enters, the text around it stays what it was.
TEST(AppTemplate, HoldsHostileParametersApart) {
  Json hostile = parameters();
  for (const char* name :
       {"contractId", "activationToken", "apiKey", "tlsCertificate", "tlsKey", "registryUser", "registryPassword"}) {
    hostile.set(name, std::string(kHostile));
  }
  const Deployment good(plan(), parameters()), bad(plan(), hostile);
  EXPECT_EQ(bad.chosen().find("contractId")->as_string(), kHostile);
  const auto frame = [](const std::string& text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      const bool encoded =
          line.starts_with("    content: \"") ||
          line.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
              std::string::npos;
      out += encoded ? "\n" : line + "\n";
      at = end + 1;
    }
    return out;
  };
  EXPECT_EQ(frame(good.custom_data()), frame(bad.custom_data()));
  EXPECT_FALSE(bad.secrets_script().contains("reboot"));
  const auto lines = [](const std::string& text) { return std::ranges::count(text, '\n'); };
  EXPECT_EQ(lines(good.secrets_script()), lines(bad.secrets_script()));
}

TEST(AppTemplate, KeepsSecretsInProtectedSettings) {
  Json secret = parameters();
  for (const char* name : {"activationToken", "apiKey", "tlsKey", "registryPassword"})
    secret.set(name, "SECRETSECRETSECRETSECRETSECRETSECRET");
  secret.set("registryUser", "puller");
  const Deployment deployment(plan(), secret);
  const std::string encoded = to_base64(as_bytes("SECRETSECRETSECRETSECRETSECRETSECRET"));
  EXPECT_TRUE(deployment.secrets_script().contains(encoded));
  EXPECT_FALSE(deployment.custom_data().contains(encoded.substr(0, 20)));
  EXPECT_FALSE(deployment.outputs().dump().contains("SECRET"));
  EXPECT_FALSE(deployment.resources().dump().contains("SECRET"));
  EXPECT_EQ(deployment.resource("Microsoft.Compute/virtualMachines/extensions").find("settings"), nullptr);
}

TEST(AppTemplate, HasAPublicAddressOrNone) {
  Json closed = parameters();
  closed.set("publicAddress", false);
  const Deployment deployment(plan(), closed);
  const Json& nic = deployment.resource("Microsoft.Network/networkInterfaces").find("ipConfigurations")->as_array()[0];
  EXPECT_TRUE(nic.find("properties")->find("publicIPAddress")->is_null());
  EXPECT_EQ(deployment.outputs().find("modelUrl")->find("value")->as_string(), "https://10.80.0.4:8000");
  EXPECT_EQ(Deployment(plan(), parameters()).outputs().find("modelUrl")->find("value")->as_string(),
            "https://tb-x.westeurope.cloudapp.azure.com:8000");
}

TEST(AppTemplate, HasADiskForStateOrNone) {
  EXPECT_EQ(Deployment(plan(), parameters()).vm().find("storageProfile")->find("dataDisks")->dump(), "[]");
  Json with = parameters();
  with.set("stateDiskGb", 64);
  EXPECT_EQ(
      Deployment(plan(), with).vm().find("storageProfile")->find("dataDisks")->as_array()[0].find("diskSizeGB")->dump(),
      "64");
}

TEST(AppTemplate, FitsIntoCustomData) {
  constexpr std::size_t kMostBytes = 65'535;
  const std::string data = Deployment(plan(), parameters()).custom_data();
  EXPECT_LT(data.size(), kMostBytes / 2);
  EXPECT_TRUE(data.starts_with("#cloud-config\n"));
  EXPECT_FALSE(data.contains("@DEPLOYMENT@"));
}

TEST(AppPlan, IsTheSameBytesTwice) {
  EXPECT_EQ(zip_of(app_files(checked(plan()))), zip_of(app_files(checked(plan()))));
}

TEST(AppPlan, CompletesSizes) {
  AppPlan given = plan();
  given.sizes = {"NCC40ads_H100_v5", "Standard_NC4as_T4_v3"};
  EXPECT_THAT(checked(given).sizes, testing::ElementsAre("Standard_NCC40ads_H100_v5", "Standard_NC4as_T4_v3"));
  EXPECT_THAT(checked(plan()).sizes, testing::ElementsAreArray(default_sizes()));
}

struct Refusal {
  std::string name;
  std::function<void(AppPlan&)> change;
};

TEST(AppPlan, RefusesWhatIsNoPlan) {
  const std::vector<Refusal> refusals = {
      {"--asset-id", [](AppPlan& p) { p.asset_id = ""; }},
      {"--asset-id", [](AppPlan& p) { p.asset_id = "a b"; }},
      {"--asset-id", [](AppPlan& p) { p.asset_id = "a\nb"; }},
      {"--asset-id", [](AppPlan& p) { p.asset_id = "[concat('a')]"; }},
      {"--image", [](AppPlan& p) { p.runtime_image = "registry.example.com/acme/runtime:latest"; }},
      {"--image", [](AppPlan& p) { p.runtime_image = "runtime" + kDigest; }},
      {"--image", [](AppPlan& p) { p.runtime_image = "r.io/a$(id)" + kDigest; }},
      {"--image", [](AppPlan& p) { p.runtime_image = "r.io/../a" + kDigest; }},
      {"--image", [](AppPlan& p) { p.runtime_image = "r.io/a" + kDigest + " --privileged"; }},
      {"--image", [](AppPlan& p) { p.runtime_image = "--privileged/a" + kDigest; }},
      {"--sentinel-image", [](AppPlan& p) { p.sentinel_image = "r.io/A" + kDigest; }},
      {"--edc-endpoint", [](AppPlan& p) { p.control_plane_url = "http://cp.example.com"; }},
      {"--edc-endpoint", [](AppPlan& p) { p.control_plane_url = "https://user:secret@cp.example.com"; }},
      {"--edc-endpoint", [](AppPlan& p) { p.control_plane_url = "https://cp.example.com/?sig=x"; }},
      {"--edc-endpoint", [](AppPlan& p) { p.control_plane_url = "https://cp.example.com/\n"; }},
      {"--edc-endpoint", [](AppPlan& p) { p.control_plane_url = "https:///x"; }},
      {"--control-plane-key", [](AppPlan& p) { p.control_plane_key = "short"; }},
      {"--contract-id", [](AppPlan& p) { p.contract_id = std::string(65, 'a'); }},
      {"--contract-id", [](AppPlan& p) { p.contract_id = "a;b"; }},
      {"--attestation", [](AppPlan& p) { p.attestation = "snp"; }},
      {"--size", [](AppPlan& p) { p.sizes = {"D2s_v5"}; }},
      {"--size", [](AppPlan& p) { p.sizes = {"NC4as_T4_v3", "Standard_NC4as_T4_v3"}; }},
      {"--region", [](AppPlan& p) { p.regions = {"West Europe"}; }},
      {"--client-ranges", [](AppPlan& p) { p.client_ranges = {"203.0.113.0/33"}; }},
      {"--client-ranges", [](AppPlan& p) { p.client_ranges = {"everywhere"}; }},
      {"--client-ranges", [](AppPlan& p) { p.client_ranges = {"2001:db8::/129"}; }},
      {"--billing", [](AppPlan& p) { p.billing_dimensions = {"watts"}; }},
      {"--billing-plan", [](AppPlan& p) { p.billing_dimensions = {"tokens"}; }},
      {"--billing-plan", [](AppPlan& p) { p.billing_dimensions = {"tokens"}, p.billing_plan_id = "a b"; }},
  };
  for (const Refusal& refusal : refusals) {
    AppPlan changed = plan();
    refusal.change(changed);
    try {
      checked(changed);
      ADD_FAILURE() << refusal.name << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "usage");
      EXPECT_TRUE(error.message.contains(refusal.name)) << error.message;
      EXPECT_FALSE(error.message.contains("secret"));
    }
  }
  AppPlan six = plan();
  six.client_ranges = {"2001:db8::/32", "203.0.113.7"};
  EXPECT_NO_THROW(checked(six));
}

}  // namespace
}  // namespace tb::azure

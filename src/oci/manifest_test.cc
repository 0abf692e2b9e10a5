#include "oci/manifest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "oci/image_config.h"

namespace tb::oci {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string descriptor(const std::string& type, const std::string& more = "", const std::string& size = "12") {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}{}}})", type, kDigest, size, more);
}
std::string manifest(const std::string& config, const std::string& layers, const std::string& more = "") {
  return fmt::format(R"({{"schemaVersion":2{},"config":{},"layers":[{}]}})", more, config, layers);
}
const std::string kConfig = descriptor(std::string(kConfigType));
const std::string kLayer = descriptor(std::string(kLayerType));

void refused(const std::string& text) {
  const auto got = parse_manifest(text);
  ASSERT_FALSE(got) << text;
  EXPECT_EQ(got.error().reason, "image_malformed");
}

TEST(Manifest, WhatIsWrittenIsReadAsTheSame) {
  const Manifest once = parse_manifest(manifest(kConfig, kLayer + "," + kLayer)).value();
  ASSERT_EQ(once.layers.size(), 2U);
  const Manifest again = parse_manifest(once.to_text()).value();
  EXPECT_EQ(again.config, once.config);
  EXPECT_EQ(again.layers, once.layers);
}

TEST(Manifest, DockersNamesBecomeOcis) {
  const std::string docker = descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip");
  const std::string type = fmt::format(R"(,"mediaType":"{}")", kDockerManifestType);
  const Manifest got =
      parse_manifest(manifest(descriptor("application/vnd.docker.container.image.v1+json"), docker, type)).value();
  EXPECT_EQ(got.layers.front().media_type, kLayerType);
  EXPECT_EQ(got.config.media_type, kConfigType);
}

TEST(Manifest, RefusesWhatIsNotUnderstood) {
  refused("");
  refused("[]");
  refused(R"({"schemaVersion":1})");
  refused(R"({"schemaVersion":2,"layers":[]})");
  refused(manifest("{}", kLayer));
  refused(manifest(kConfig, "7"));
  refused(manifest(kConfig, descriptor("application/vnd.oci.image.layer.v1.tar+xz")));
  refused(manifest(kConfig, descriptor(std::string(kLayerType), R"(,"urls":["https://elsewhere.example/"])")));
  refused(manifest(kConfig, descriptor(std::string(kLayerType), "", "-1")));
  refused(manifest(kConfig, descriptor(std::string(kLayerType), "", "1.5")));
  refused(manifest(kConfig, descriptor(std::string(kLayerType), "", "9007199254740992")));
  refused(manifest(descriptor(std::string(kConfigType), "", "5000000"), kLayer));
  refused(manifest(kConfig, kLayer, R"(,"mediaType":"text/html")"));
  refused(manifest(kConfig, kLayer, R"(,"schemaVersion":2)"));
  std::string upper = manifest(kConfig, kLayer);
  upper.replace(upper.find(kDigest), kDigest.size(), "sha256:" + std::string(64, 'A'));
  refused(upper);
  std::string many = kLayer;
  for (std::size_t i = 0; i < kMaxEntries; ++i) many += "," + kLayer;
  refused(manifest(kConfig, many));
}

TEST(Index, TheImageForThisPlatformIsChosen) {
  const auto entry = [](const std::string& architecture, char digit, const std::string& name = "") {
    return Descriptor{.media_type = std::string(kManifestType),
                      .digest = "sha256:" + std::string(64, digit),
                      .bytes = 1,
                      .os = "linux",
                      .architecture = architecture,
                      .variant = {},
                      .ref_name = name};
  };
  const std::vector<Descriptor> many{entry("arm64", '1'), entry("amd64", '2'), entry("unknown", '3')};
  EXPECT_EQ(choose_manifest(value_or_throw(parse_index(index_text(many)))).value().digest, many[1].digest);
  EXPECT_EQ(choose_manifest({entry("arm64", '1')}).error().reason, "image_not_found");
  EXPECT_EQ(choose_manifest({}).error().reason, "image_not_found");
  EXPECT_EQ(choose_manifest({entry("amd64", '1', "a"), entry("amd64", '2', "b")}).error().reason, "image_not_found");
  EXPECT_EQ(choose_manifest({entry("amd64", '1', "a"), entry("amd64", '2', "b")}, "b").value().digest,
            "sha256:" + std::string(64, '2'));
  EXPECT_TRUE(choose_manifest({entry("amd64", '1', "a"), entry("amd64", '1', "b")}));
  Descriptor artifact = entry("", '4');
  artifact.media_type = "application/vnd.example";
  EXPECT_EQ(choose_manifest({artifact, entry("amd64", '2')}).value().digest, many[1].digest);
}

std::string config(const std::string& body, const std::string& ids = "") {
  return fmt::format(
      R"({{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":[{}]}},"config":{}}})", ids, body);
}

TEST(ImageConfig, OursGoesOverTheBases) {
  const ImageConfig base =
      ImageConfig::parse(
          config(
              R"({"Env":["PATH=/bin","A=1"],"Cmd":["old"],"Labels":{"keep":"1","swap":"1"},"User":"7","StopSignal":"SIGINT"})",
              '"' + kDigest + '"'),
          1)
          .value();
  ConfigChange change;
  change.entrypoint = {"/new"};
  change.environment["A"] = "2";
  change.labels["swap"] = "2";
  change.diff_ids = {"sha256:" + std::string(64, 'b')};
  change.history = {"one"};
  change.created_s = 1;
  const Json made = Json::parse(base.with(change).to_text()).value();
  const Json& inner = *made.find("config");
  EXPECT_EQ(inner.find("Entrypoint")->as_array().front().as_string(), "/new");
  EXPECT_EQ(inner.find("Cmd"), nullptr) << "the base's command would become an argument of ours";
  EXPECT_EQ(inner.find("User")->as_string(), "7");
  EXPECT_EQ(inner.find("StopSignal")->as_string(), "SIGINT");
  EXPECT_EQ(inner.find("Labels")->find("keep")->as_string(), "1");
  EXPECT_EQ(inner.find("Labels")->find("swap")->as_string(), "2");
  EXPECT_EQ(base.with(change).environment("A"), "2");
  EXPECT_EQ(base.with(change).environment("PATH"), "/bin");
  EXPECT_EQ(base.with(change).diff_ids(), (std::vector<std::string>{kDigest, change.diff_ids.front()}));
  EXPECT_EQ(made.find("created")->as_string(), "1970-01-01T00:00:01Z");
  EXPECT_TRUE(ImageConfig::parse(base.with(change).to_text(), 2));
}

TEST(ImageConfig, RefusesWhatCannotBeBuiltUpon) {
  for (const std::string& text :
       {std::string("{}"), std::string("7"), config("{}", "7"), config("{}", "\"sha256:12\""), config("7"),
        config(R"({"Env":"x"})"), config(R"({"Env":[7]})"), config(R"({"Labels":[]})"), config(R"({"Labels":{"a":7}})"),
        config(R"({"ExposedPorts":[]})"), config("{}", '"' + kDigest + '"'),
        std::string(R"({"os":"windows","architecture":"amd64","rootfs":{"diff_ids":[]}})"),
        std::string(R"({"os":"linux","architecture":"arm64","rootfs":{"diff_ids":[]}})"),
        std::string(R"({"os":"linux","architecture":"amd64"})"),
        std::string(R"({"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]},"history":7})")}) {
    const auto got = ImageConfig::parse(text, 0);
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().reason, "image_malformed");
  }
}

}  // namespace
}  // namespace tb::oci

#include "oci/program.h"

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/json.h"
#include "oci/elf.h"
#include "oci/image_plan.h"
#include "oci/sbom.h"

namespace tb::oci {
namespace {

std::string own_program() {
  return read_small_file("/proc/self/exe", std::size_t{1} << 28).value();
}

TEST(Elf, ThisProgramNamesItsLoaderAndLibraries) {
  const std::string text = own_program();
  const ElfFacts facts = parse_elf(as_bytes(text)).value();
  EXPECT_TRUE(facts.interpreter.starts_with("/lib64/ld-linux-x86-64.so")) << facts.interpreter;
  EXPECT_NE(std::ranges::find(facts.needed, "libc.so.6"), facts.needed.end());
}

TEST(Elf, AShorterLoaderFitsAndALongerDoesNot) {
  std::string text = own_program();
  const ElfFacts facts = parse_elf(as_bytes(text)).value();
  const MutableBytes bytes(reinterpret_cast<std::uint8_t*>(text.data()), text.size());
  ASSERT_TRUE(set_interpreter(bytes, facts, kLoaderPath));
  EXPECT_EQ(parse_elf(bytes).value().interpreter, kLoaderPath);
  EXPECT_EQ(parse_elf(bytes).value().needed, facts.needed);
  EXPECT_FALSE(set_interpreter(bytes, facts, std::string(facts.interpreter_bytes, 'x')));
  EXPECT_FALSE(set_interpreter(bytes, {}, kLoaderPath));
}

TEST(Elf, RefusesWhatIsCutOrNoProgram) {
  const std::string text = own_program();
  for (std::size_t bytes : {0UL, 3UL, 63UL, 64UL, 100UL, 700UL}) {
    EXPECT_FALSE(parse_elf(as_bytes(text.substr(0, bytes)))) << bytes;
  }
  std::string other = text;
  other[4] = 1;  // 32 bits
  EXPECT_FALSE(parse_elf(as_bytes(other)));
  other = text;
  other[18] = 7;  // another machine
  EXPECT_FALSE(parse_elf(as_bytes(other)));
  other = text;
  other[56] = '\xff';  // more program headers than may be
  EXPECT_FALSE(parse_elf(as_bytes(other)));
}

TEST(Program, OneThatLooksElsewhereIsRefused) {
  try {
    read_program("/proc/self/exe", {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "image_malformed");
  }
}

TEST(Sbom, SaysWhatItWasGivenAndNothingElse) {
  const DebianPackage package{
      .name = "libx++1", .version = "1:2.0+b1~x", .architecture = "amd64", .source = "x", .licence = "Expat"};
  const std::vector<SbomFile> files{{.path = "b", .sha256 = "2", .package = package},
                                    {.path = "a", .sha256 = "1", .package = {}, .ours = true},
                                    {.path = "c", .sha256 = "3", .package = package}};
  const std::string text = spdx_document({.name = "n", .version = "1", .created_s = 0}, files);
  const Json document = Json::parse(text).value();
  EXPECT_EQ(document.find("spdxVersion")->as_string(), "SPDX-2.3");
  ASSERT_EQ(document.find("packages")->as_array().size(), 2U);
  const Json& deb = document.find("packages")->as_array().front();
  EXPECT_EQ(deb.find("licenseDeclared")->as_string(), "MIT");
  EXPECT_EQ(deb.find("externalRefs")->as_array().front().find("referenceLocator")->as_string(),
            "pkg:deb/debian/libx%2B%2B1@1%3A2.0%2Bb1~x?arch=amd64");
  EXPECT_EQ(document.find("files")->as_array().front().find("fileName")->as_string(), "./a");
  auto reversed = files;
  std::ranges::reverse(reversed);
  EXPECT_EQ(spdx_document({.name = "n", .version = "1", .created_s = 0}, reversed), text);
  EXPECT_EQ(spdx_licence("GPL-2+ with a twist"), "");
}

TEST(DebianPackages, ParagraphsHoldFieldsAndNoContinuations) {
  const auto got = control_paragraphs("Package: a\nDescription: x\n more: y\n\n\n# no\nPackage: b\nno colon\n");
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].at("Description"), "x");
  EXPECT_EQ(got[1].at("Package"), "b");
  EXPECT_EQ(got[1].size(), 1U);
  EXPECT_TRUE(control_paragraphs("").empty());
}

TEST(ImagePlan, OursRunAsNobodyOfNoteAndARuntimeAsItsBaseSays) {
  const ImageParts parts{
      .program = {.path = "/x", .name = "trustbridge-sentinel", .content = "x", .loader = "/ld", .libraries = {}},
      .sbom = "{}",
      .certificates = "",
      .entrypoint = "#!/bin/sh\n"};
  const ImagePlan sentinel = plan_image({.kind = ImageKind::kSentinel, .version = "1"}, parts);
  EXPECT_EQ(sentinel.change.user, "65532:65532");
  ASSERT_TRUE(sentinel.change.health);
  const ImagePlan runtime = plan_image({.kind = ImageKind::kRuntime, .version = "1"}, parts);
  EXPECT_EQ(runtime.change.user, "");
  EXPECT_FALSE(runtime.change.health);
  // Nothing of a runtime image lies outside of our own place: a base's files stay as they are.
  for (const PlannedLayer& layer : runtime.layers) {
    for (const LayerEntry& entry : layer.entries) EXPECT_TRUE(entry.path.starts_with("opt/trustbridge/")) << entry.path;
  }
  EXPECT_TRUE(check_label("org.example/a-b_c", "any text"));
  for (const char* name : {"", "a b", "a=b", "a\n"}) EXPECT_FALSE(check_label(name, "x")) << name;
  EXPECT_FALSE(check_label("a", "line\nbreak"));
}

}  // namespace
}  // namespace tb::oci

#include "oci/reference.h"

#include <gtest/gtest.h>

namespace tb::oci {
namespace {

TEST(Reference, NamesARegistryAPlaceAndATag) {
  EXPECT_EQ(parse_reference("registry.example:5000/team/name:1.2").value(),
            (Reference{"registry.example:5000", "team/name", "1.2", ""}));
  EXPECT_EQ(parse_reference("localhost/a").value(), (Reference{"localhost", "a", "latest", ""}));
  EXPECT_EQ(parse_reference("[::1]:5000/a__b/c---d").value(), (Reference{"[::1]:5000", "a__b/c---d", "latest", ""}));
  const std::string digest = "sha256:" + std::string(64, 'a');
  const Reference pinned = parse_reference("127.0.0.1:5000/a:t@" + digest).value();
  EXPECT_EQ(pinned.target(), digest);
  EXPECT_EQ(pinned.to_text(), "127.0.0.1:5000/a:t@" + digest);
  EXPECT_EQ(pinned.host_name(), "127.0.0.1");
  EXPECT_EQ(parse_reference("[::1]:5000/a").value().host_name(), "::1");
}

TEST(Reference, WithoutARegistryItIsDockers) {
  EXPECT_EQ(parse_reference("debian").value(), (Reference{"docker.io", "library/debian", "latest", ""}));
  EXPECT_EQ(parse_reference("vllm/vllm-openai:v1").value(), (Reference{"docker.io", "vllm/vllm-openai", "v1", ""}));
  EXPECT_EQ(parse_reference("debian").value().api_host(), "registry-1.docker.io");
}

TEST(Reference, WhatIsWrittenIsReadAsTheSame) {
  for (const char* text : {"registry.example/a:b", "debian", "[::1]:5000/a", "h.x:1/a/b@sha256:"}) {
    const std::string whole = std::string(text) + (std::string_view(text).ends_with(':') ? std::string(64, '0') : "");
    const Reference once = parse_reference(whole).value();
    EXPECT_EQ(parse_reference(once.to_text()).value(), once) << whole;
  }
}

TEST(Reference, RefusesWhatCouldLeaveItsPlace) {
  for (const std::string text : {"",
                                 "/",
                                 "UPPER/case.x",
                                 "registry.example/Name",
                                 "registry.example/../a",
                                 "registry.example/a/../b",
                                 "registry.example/a b",
                                 "registry.example/a;rm",
                                 "registry.example/$(id)",
                                 "registry.example/a\n",
                                 "registry.example/a:",
                                 "registry.example/a:-t",
                                 "registry.example/a:t/u",
                                 "registry.example/a:.t",
                                 "registry.example/a?x=y",
                                 "registry.example/a#b",
                                 "registry.example/a%2fb",
                                 "registry.example:0/a",
                                 "registry.example:99999/a",
                                 "registry.example:5000x/a",
                                 "user@registry.example/a",
                                 "-registry.example/a",
                                 "registry..example/a",
                                 "[zz]/a",
                                 "[::1/a",
                                 "[::1]x/a",
                                 "registry.example/a@sha256:12",
                                 "registry.example/a@md5:0123",
                                 "registry.example/a@",
                                 "a._b",
                                 "a__",
                                 "_a",
                                 "a//b",
                                 "registry.example/",
                                 "--registry/x.y",
                                 "a\\b"}) {
    const auto got = parse_reference(text);
    ASSERT_FALSE(got) << text << " was taken as " << got->to_text();
    EXPECT_EQ(got.error().reason, "image_reference_invalid");
  }
  EXPECT_FALSE(parse_reference("registry.example/" + std::string(256, 'a')));
  EXPECT_TRUE(parse_reference("registry.example/" + std::string(255, 'a')));
  EXPECT_FALSE(parse_reference(std::string(248, 'a'))) << "too long with library/ before it";
  EXPECT_TRUE(parse_reference(std::string(247, 'a')));
  EXPECT_FALSE(is_tag(std::string(129, 't')));
  EXPECT_TRUE(is_tag(std::string(128, 't')));
}

}  // namespace
}  // namespace tb::oci

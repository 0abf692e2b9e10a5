#include "sentinel/model_uri.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tb::sentinel {
namespace {

TEST(ModelUri, NamesAContractAndAnAsset) {
  const ModelUri uri = parse_model_uri("trustbridge://acme-1/llama_8b-Q4");
  EXPECT_EQ(uri.contract_id, "acme-1");
  EXPECT_EQ(uri.asset_id, "llama_8b-Q4");
  EXPECT_EQ(to_text(uri), "trustbridge://acme-1/llama_8b-Q4");
}

TEST(ModelUri, EverythingElseIsRefused) {
  for (const std::string text : {"",
                                 "trustbridge:",
                                 "trustbridge://",
                                 "trustbridge://a",
                                 "trustbridge://a/",
                                 "trustbridge:///b",
                                 "trustbridge://a/b/",
                                 "trustbridge://a/b/c",
                                 "trustbridge://a/../b",
                                 "trustbridge://a/b?c",
                                 "trustbridge://a/b#c",
                                 "trustbridge://a%2fb/c",
                                 "trustbridge://u@a/b",
                                 "trustbridge://a:1/b",
                                 "TRUSTBRIDGE://a/b",
                                 "https://a/b",
                                 " trustbridge://a/b",
                                 "trustbridge://a/b\n",
                                 "trustbridge://a b/c",
                                 "trustbridge://\xc3\xa9/b"}) {
    EXPECT_THROW(parse_model_uri(text), Error) << text;
  }
  EXPECT_THROW(parse_model_uri("trustbridge://" + std::string(65, 'a') + "/b"), Error);
  EXPECT_THROW(parse_model_uri("trustbridge://a/" + std::string(101, 'b')), Error);
  EXPECT_THROW(parse_model_uri(std::string("trustbridge://a/b\0c", 19)), Error);
}

}  // namespace
}  // namespace tb::sentinel

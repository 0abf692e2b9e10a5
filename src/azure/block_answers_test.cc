// Answers as the service writes them, and what only looks like one.
#include "azure/block_answers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tb::azure {
namespace {

http::ClientResponse answer(int status, std::string_view code, std::string body = "") {
  http::ClientResponse out{.status = status, .body = std::move(body)};
  if (!code.empty()) out.headers.set("x-ms-error-code", code);
  return out;
}

TEST(BlockAnswers, UncommittedBlocksAreRead) {
  // What Azurite and Azure write; the byte order mark is Azure's.
  const auto blocks = parse_uncommitted(
      "\xEF\xBB\xBF<?xml version=\"1.0\" "
      "encoding=\"utf-8\"?><BlockList><CommittedBlocks><Block><Name>AAAA</Name><Size>1</Size>"
      "</Block></CommittedBlocks><UncommittedBlocks><Block><Name>QQ==</Name><Size>8388608</Size></"
      "Block><Block><Name>Qg==</Name>"
      "<Size>17</Size></Block></UncommittedBlocks></BlockList>");
  ASSERT_TRUE(blocks);
  ASSERT_EQ(blocks->size(), 2U);
  EXPECT_EQ(blocks->front().id, "QQ==");
  EXPECT_EQ(blocks->front().bytes, 8388608U);
  EXPECT_EQ(blocks->back().bytes, 17U);
  EXPECT_TRUE(parse_uncommitted("<BlockList><UncommittedBlocks/></BlockList>")->empty());
  EXPECT_TRUE(parse_uncommitted("<BlockList/>")->empty());
}

TEST(BlockAnswers, WhatIsNoListIsRefused) {
  const auto list = [](std::string_view blocks) {
    return "<BlockList><UncommittedBlocks>" + std::string(blocks) + "</UncommittedBlocks></BlockList>";
  };
  const std::string one = "<Block><Name>QQ==</Name><Size>1</Size></Block>";
  EXPECT_TRUE(parse_uncommitted(list(one)));
  EXPECT_FALSE(parse_uncommitted(list(one + one))) << "twice";
  EXPECT_FALSE(parse_uncommitted(list("<Block><Name>QQ==</Name></Block>")));
  EXPECT_FALSE(parse_uncommitted(list("<Block><Size>1</Size></Block>")));
  for (const char* size : {"-1", "1x", "", "18446744073709551616", "1.5"}) {
    EXPECT_FALSE(parse_uncommitted(list(fmt::format("<Block><Name>QQ==</Name><Size>{}</Size></Block>", size)))) << size;
  }
  EXPECT_FALSE(parse_uncommitted(""));
  EXPECT_FALSE(parse_uncommitted("<html>proxy</html>"));
  EXPECT_FALSE(parse_uncommitted("<BlockList><UncommittedBlocks>"));
  EXPECT_FALSE(parse_uncommitted("<BlockList/><BlockList/>"));
  EXPECT_FALSE(parse_uncommitted("<BlockList/>" + std::string(kMaxBlockListBytes, ' ')));
}

TEST(BlockAnswers, FaultsHaveAReasonAndAHint) {
  const auto reason = [](int status, std::string_view code) {
    return fault_of(answer(status, code), "Put Block").reason;
  };
  EXPECT_EQ(reason(403, "AuthenticationFailed"), "blob_refused");
  EXPECT_EQ(reason(403, "AuthorizationFailure"), "blob_refused");
  EXPECT_EQ(reason(400, "InvalidAuthenticationInfo"), "blob_refused");
  EXPECT_EQ(reason(401, ""), "blob_refused");
  EXPECT_EQ(reason(404, "ContainerNotFound"), "container_not_found");
  EXPECT_EQ(reason(404, ""), "blob_not_found");
  EXPECT_EQ(reason(409, "BlobAlreadyExists"), "precondition_failed");
  EXPECT_EQ(reason(412, "ConditionNotMet"), "precondition_failed");
  EXPECT_EQ(reason(409, "LeaseIdMissing"), "blob_conflict");
  EXPECT_EQ(reason(400, "InvalidBlockList"), "upload_blocks_lost");
  EXPECT_EQ(reason(503, "ServerBusy"), "server_busy");
  EXPECT_EQ(reason(408, ""), "server_busy");
  EXPECT_EQ(reason(302, ""), "store_answer_unexpected");
  EXPECT_EQ(reason(200, ""), "store_answer_unexpected");
  for (const auto& [status, code] : {std::pair{403, "AuthenticationFailed"},
                                     {403, "AuthorizationPermissionMismatch"},
                                     {404, "ContainerNotFound"},
                                     {400, "InvalidBlobOrBlock"}}) {
    EXPECT_NE(fault_of(answer(status, code), "x").hint(), "") << code;
  }
}

TEST(BlockAnswers, CodesComeFromTheHeaderOrTheBodyAndHoldLettersOnly) {
  EXPECT_EQ(fault_code(answer(400, "InvalidBlockList", "<Error><Code>Other</Code></Error>")), "InvalidBlockList");
  EXPECT_EQ(fault_code(answer(403, "", "<Error><Code>AuthorizationFailure</Code><Message>m</Message></Error>")),
            "AuthorizationFailure");
  EXPECT_EQ(fault_code(answer(403, "Bad\x1b[31m")), "");
  EXPECT_EQ(fault_code(answer(403, "", "<Error><Code>a b</Code></Error>")), "");
  EXPECT_EQ(fault_code(answer(500, "", "<html>")), "");
  EXPECT_EQ(fault_code(answer(500, "", std::string(kMaxFaultBytes + 1, 'x'))), "");
  EXPECT_EQ(fault_of(answer(403, "Bad\x1b[31m"), "Put Block").message, "the store answered 403 to Put Block");
}

}  // namespace
}  // namespace tb::azure

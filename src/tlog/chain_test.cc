// spec: RFC 6962 2.1; wire 2.5
#include "tlog/chain.h"

#include <gtest/gtest.h>

namespace tb::tlog {
namespace {

std::vector<std::string> lines_of(int count) {
  ChainHead head;
  std::vector<std::string> lines;
  for (int i = 0; i < count; ++i) {
    Json record = Json::object();
    record.set("what", "event " + std::to_string(i));
    lines.push_back(append_record(head, std::move(record)));
  }
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

std::string verdict(const std::string& text) {
  try {
    verify_lines(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "chain_broken");
    return error.message;
  }
  return "whole";
}

// The leaf hashes of "" and of 0x00 in RFC 6962's well-known test tree. spec: RFC 6962 2.1
TEST(Chain, LeafHashIsThatOfRfc6962) {
  EXPECT_EQ(to_hex(leaf_hash("")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  EXPECT_EQ(to_hex(leaf_hash(std::string_view("\0", 1))),
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7");
}

TEST(Chain, FirstRecordHasZerosAndEachNamesTheOneBefore) {
  const auto lines = lines_of(2);
  EXPECT_EQ(lines[0], R"({"what":"event 0","seq":0,"prev":")" + std::string(64, '0') + R"("})");
  EXPECT_EQ(lines[1], R"({"what":"event 1","seq":1,"prev":")" + to_hex(leaf_hash(lines[0])) + R"("})");
  EXPECT_EQ(verify_lines(joined(lines)).records, 2U);
  EXPECT_EQ(verify_lines("").records, 0U);
}

TEST(Chain, EveryTamperingShows) {
  const auto lines = lines_of(5);
  EXPECT_EQ(verdict(joined(lines)), "whole");
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    auto changed = lines;
    changed[i].replace(changed[i].find("event"), 5, "fraud");
    EXPECT_THAT(verdict(joined(changed)), testing::HasSubstr("record " + std::to_string(i + 1))) << i;
    auto dropped = lines;
    dropped.erase(dropped.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_NE(verdict(joined(dropped)), "whole") << i;
    auto swapped = lines;
    std::swap(swapped[i], swapped[i + 1]);
    EXPECT_NE(verdict(joined(swapped)), "whole") << i;
    auto repeated = lines;
    repeated.insert(repeated.begin() + static_cast<std::ptrdiff_t>(i), lines[i]);
    EXPECT_NE(verdict(joined(repeated)), "whole") << i;
  }
}

TEST(Chain, BrokenLinesAreRefused) {
  const std::string text = joined(lines_of(2));
  EXPECT_THAT(verdict(text.substr(0, text.size() - 1)), testing::HasSubstr("cut short"));
  EXPECT_THAT(verdict(text + "not json\n"), testing::HasSubstr("strict JSON"));
  EXPECT_THAT(verdict(text + "\n"), testing::HasSubstr("strict JSON"));
  EXPECT_THAT(verdict("{}\n"), testing::HasSubstr("number"));
  EXPECT_THAT(verdict("{\"seq\":0}\n"), testing::HasSubstr("hash"));
}

TEST(Chain, ARecordCannotBringItsOwnPlace) {
  ChainHead head;
  Json record = Json::object();
  record.set("seq", 7);
  EXPECT_THROW(append_record(head, record), Error);
  EXPECT_EQ(head, ChainHead{});
}

TEST(Chain, ARecordThatIsTextAlreadyIsTheSameLine) {
  ChainHead by_json, by_text;
  std::string text;
  for (int i = 0; i < 3; ++i) {
    Json record = Json::object();
    record.set("n", i);
    const std::string line = append_record(by_json, record);
    const std::size_t from = text.size();
    text += "{\"n\":" + std::to_string(i);
    close_record(by_text, text, from);
    EXPECT_EQ(text.substr(from), line);
    text += "\n";
  }
  EXPECT_EQ(by_text, by_json);
  EXPECT_EQ(verify_lines(text), by_json);
}

}  // namespace
}  // namespace tb::tlog

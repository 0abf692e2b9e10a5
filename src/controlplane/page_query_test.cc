// Pages are bounded in items and in bytes, and nothing is lost between them.
#include "controlplane/page_query.h"

#include <gtest/gtest.h>

namespace tb::controlplane {
namespace {

api::Page page_of(const std::vector<std::string>& rows, std::int64_t limit) {
  const auto response = page_response(
      PageQuery{.limit = limit, .cursor = {}}, rows, [](const std::string& row) { return Json(row); },
      [](const std::string& row) { return row.substr(0, 1); });
  const Json json = value_or_throw(Json::parse(response.body, {.bytes = std::size_t{64} << 20}));
  return api::Page::parse(json.dump());
}

TEST(PageResponse, TheRowAfterTheLimitBecomesACursor) {
  const api::Page page = page_of({"a", "b", "c"}, 2);
  EXPECT_EQ(page.items.size(), 2U);
  EXPECT_EQ(page.next_cursor, "b");
  EXPECT_FALSE(page_of({"a", "b"}, 2).next_cursor.has_value());
  EXPECT_TRUE(page_of({}, 2).items.empty());
}

TEST(PageResponse, LongRowsEndAPageEarly) {
  const std::vector<std::string> rows = {std::string(3 << 20, 'a'), std::string(3 << 20, 'b'),
                                         std::string(3 << 20, 'c')};
  const api::Page page = page_of(rows, 100);
  EXPECT_EQ(page.items.size(), 2U);
  EXPECT_EQ(page.next_cursor, "b");
  EXPECT_EQ(page_of({std::string(6 << 20, 'a')}, 100).items.size(), 1U);
}

}  // namespace
}  // namespace tb::controlplane

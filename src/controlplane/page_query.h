// `limit` and `cursor` of the list routes, and the page that answers them.
#pragma once

#include <charconv>
#include <string>
#include <vector>

#include "api/page.h"
#include "http/message.h"

namespace tb::controlplane {

/// A page ends early once its items are this long together: an answer stays bounded whatever its rows hold.
inline constexpr std::size_t kMaxPageBytes = std::size_t{4} << 20;

struct PageQuery {
  std::int64_t limit = api::kDefaultPageItems;
  std::string cursor;
};

/// Throws "usage" for a limit that is no number from 1 to kMaxPageItems, "bad_query" for parameters that are neither
/// its own nor in `more`.
inline PageQuery page_query(const http::Request& request, std::initializer_list<std::string_view> more = {}) {
  std::vector<std::string_view> known = {"limit", "cursor", "tenant"};
  known.insert(known.end(), more.begin(), more.end());
  request.query.only(known);
  PageQuery page;
  page.cursor = request.query.one("cursor").value_or("");
  if (const auto text = request.query.one("limit")) {
    const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), page.limit);
    if (fault != std::errc() || end != text->data() + text->size() || page.limit < 1 ||
        page.limit > api::kMaxPageItems) {
      throw Error("usage", "limit must be a number from 1 to " + std::to_string(api::kMaxPageItems));
    }
  }
  return page;
}

/// `rows` holds one more than the limit if there is a next page. At least one row is taken, then as many as fit.
template <typename Row, typename ToJson, typename ToCursor>
http::Response page_response(const PageQuery& query, const std::vector<Row>& rows, ToJson&& json, ToCursor&& cursor) {
  api::Page page;
  std::size_t bytes = 0;
  for (const Row& row : rows) {
    const std::size_t taken = page.items.size();
    if (static_cast<std::int64_t>(taken) == query.limit || bytes > kMaxPageBytes) {
      page.next_cursor = cursor(rows[taken - 1]);
      break;
    }
    page.items.push_back(json(row));
    bytes += page.items.back().dump().size();
  }
  return http::json(200, page.to_json());
}

}  // namespace tb::controlplane

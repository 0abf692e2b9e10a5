// The event log, as its own chained lines: what is read here can be verified against the hashes in it. A provider sees
// its own tenant's records only, which then carry gaps in `seq` and no whole chain.
#include <charconv>

#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/page_query.h"

namespace tb::controlplane {

http::Response handle_list_events(const http::Request& request, Deps& deps) {
  const PageQuery page = page_query(request);
  std::int64_t after = -1;
  if (!page.cursor.empty()) {
    const char* end = page.cursor.data() + page.cursor.size();
    const auto [stop, fault] = std::from_chars(page.cursor.data(), end, after);
    if (fault != std::errc() || stop != end || after < 0)
      throw Error("cursor_invalid", "the cursor is not one of this list");
  }
  const auto rows = deps.store.list_events(scope_of(request), after, page.limit + 1);
  return page_response(
      page, rows,
      [](const store::StoredEvent& event) {
        Json item = Json::object();
        item.set("line", event.line);
        item.set("event", value_or_throw(Json::parse(event.line)));
        return item;
      },
      [](const store::StoredEvent& event) { return std::to_string(event.seq); });
}

}  // namespace tb::controlplane

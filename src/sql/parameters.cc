// One pass over statements that stand in the program's own source: no comments, no dollar quotes.
#include "sql/parameters.h"

#include <cctype>

#include "base/error.h"

namespace tb::sql {

std::string with_dollar_parameters(std::string_view sql) {
  std::string out;
  int in_order = 0;
  bool numbered = false;
  for (std::size_t at = 0; at < sql.size(); ++at) {
    const char c = sql[at];
    if (c == '\'' || c == '"') {
      const std::size_t end = sql.find(c, at + 1);
      if (end == std::string_view::npos) throw Error("internal", "a quote of a statement does not end");
      out += sql.substr(at, end - at + 1);
      at = end;
    } else if (c == '?') {
      std::size_t end = at + 1;
      while (end < sql.size() && std::isdigit(static_cast<unsigned char>(sql[end])) != 0) ++end;
      const std::string_view number = sql.substr(at + 1, end - at - 1);
      numbered = numbered || !number.empty();
      if (number.empty()) ++in_order;
      if ((numbered && in_order > 0) || number.starts_with('0')) {
        throw Error("internal", "the parameters of a statement must be ? in order, or all ?1 and up");
      }
      out += '$';
      out += number.empty() ? std::to_string(in_order) : std::string(number);
      at = end - 1;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace tb::sql

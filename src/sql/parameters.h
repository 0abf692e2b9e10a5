// The door's parameters in PostgreSQL's words.
#pragma once

#include <string>
#include <string_view>

namespace tb::sql {

/// `?` in order and `?1` as `$1`; what stands in quotes stays. Throws "internal" for both kinds in one statement, for
/// `?0`, and for a quote that does not end.
std::string with_dollar_parameters(std::string_view sql);

}  // namespace tb::sql

// The language between the brackets of a template: `[concat(parameters('a'), '-b').c[0]]`. Parsing only; evaluate.h
// gives values. Source: Azure Resource Manager's "template functions" and "syntax and expressions" pages.
//
//   text        a string that does not begin with "[", or begins with "[[" (which stands for "[")
//   expression  "[" call "]", whitespace allowed around everything
//   call        name or namespace.name, "(" arguments ")", then any of ".name", ".?name" and "[" argument "]"
//   argument    call, 'string' ('' stands for '), or a whole number
//
// Bounds: kMaxExpressionBytes and kMaxExpressionDepth; what is over them, or not of this form, is
// "expression_malformed".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tb::azure {

inline constexpr std::size_t kMaxExpressionBytes = std::size_t{64} << 10;
inline constexpr int kMaxExpressionDepth = 48;

struct Expression {
  enum class Kind { kString, kInteger, kCall, kProperty, kIndex };

  Kind kind = Kind::kString;
  std::string text;               ///< the string; the function's name as written; the property's name
  std::int64_t integer = 0;       ///< of kInteger
  bool optional = false;          ///< `.?name`
  std::vector<Expression> parts;  ///< arguments of a call; of a property its object; of an index its object and place
};

/// True if `text` is an expression to the resource manager: begins with "[" and not "[[", and ends with "]".
bool is_expression(std::string_view text);
/// What `text` stands for if it is none: one bracket of a leading "[[" is taken off.
std::string literal_text(std::string_view text);
/// A literal that stands for `text`, whatever it begins with.
std::string escaped_literal(std::string_view text);

/// Throws "expression_malformed", which says where.
Expression parse_expression(std::string_view text);
/// The same expression in one form: no spaces apart from one after each comma.
std::string to_text(const Expression& expression);

/// Case-insensitive, as function names are.
bool is_call(const Expression& expression, std::string_view function);

/// Calls `visit` for `expression` and all that is in it, outermost first.
template <typename Visit>
void each_part(const Expression& expression, const Visit& visit) {
  visit(expression);
  for (const Expression& part : expression.parts) each_part(part, visit);
}

}  // namespace tb::azure

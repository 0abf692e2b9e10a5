// The error body of the control plane's routes: application/problem+json (RFC 9457) with a stable `code`.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace tb::api {

struct Problem {
  int status = 500;
  std::string code;    ///< a reason of the error table
  std::string detail;  ///< one sentence
  std::string hint;    ///< what to do; may be empty

  Json to_json() const;
  /// Nothing if `text` is not such a body: another program answered.
  static std::optional<Problem> parse(std::string_view text);
  /// The same as an Error, under its own code where the table knows it.
  Error to_error() const;
};

}  // namespace tb::api

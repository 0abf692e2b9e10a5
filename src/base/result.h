// Result<T>: a value or the project's Error. TRY unwraps in functions that return a Result; value_or_throw is the
// bridge to the floors that throw.
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace tb {

template <typename T = void>
using Result = std::expected<T, Error>;

/// `return fail("tag_mismatch", "chunk 3 does not verify");`
std::unexpected<Error> fail(std::string_view reason, std::string message);
std::unexpected<Error> fail(Error error);

template <typename T>
T value_or_throw(Result<T>&& result) {
  if (!result) throw std::move(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace tb

/// Value of a Result expression, or return its error from the enclosing function (synchronous functions only: a
/// statement expression must not hold a co_await).
#define TRY(...) TB_TRY_NAMED(TB_TRY_JOIN(tb_try_, __COUNTER__), __VA_ARGS__)
#define TB_TRY_JOIN(a, b) TB_TRY_JOIN2(a, b)
#define TB_TRY_JOIN2(a, b) a##b
#define TB_TRY_NAMED(name, ...)                                 \
  ({                                                            \
    auto name = (__VA_ARGS__);                                  \
    if (!name) return std::unexpected(std::move(name.error())); \
    std::move(name).value();                                    \
  })

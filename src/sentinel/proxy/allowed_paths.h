// The table of paths that may pass to a runtime, and of those that are known and closed, each with its reason.
// docs/allowed-paths.md is printed from it. What stands in neither is closed, too.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tb::sentinel::proxy {

/// What a route does, as metrics name it (OpenTelemetry's gen_ai.operation.name where it has a word).
enum class Operation : std::uint8_t {
  kChat,
  kTextCompletion,
  kEmbeddings,
  kRerank,
  kTranscription,
  kInfer,  ///< KServe v2: tensors
  kTokenize,
  kDescribe,  ///< models and health
};
inline constexpr std::size_t kOperations = 8;
std::string_view operation_name(Operation operation);

/// One row of the allow-list. A `{name}` segment takes one segment of [A-Za-z0-9._:-], 1 to 128 bytes, not a dot
/// segment.
struct Route {
  std::string_view method;
  std::string_view pattern;
  std::string_view api;  ///< whose it is
  Operation operation;
  std::string_view what;
};
std::span<const Route> all_routes();

/// A path that a runtime serves and that is not for users.
struct ClosedPath {
  std::string_view path;
  std::string_view runtime;
  std::string_view why;
};
std::span<const ClosedPath> closed_paths();

/// Whether a raw path (no query) is one that `pattern` means.
bool matches_pattern(std::string_view pattern, std::string_view path);
/// Whether `pattern` stands in the table.
bool is_known_pattern(std::string_view pattern);
/// The row of a request, or null; the target may have a query.
const Route* find_route(std::string_view method, std::string_view target);

/// docs/allowed-paths.md
std::string allowed_paths_document();

}  // namespace tb::sentinel::proxy

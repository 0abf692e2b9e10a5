// The inference APIs whose bodies are read for their numbers, told apart by the path alone: a body never decides how it
// is read.
#pragma once

#include <cstdint>
#include <string_view>

namespace tb::meter {

enum class Dialect {
  kNone,         ///< not metered by tokens
  kChat,         ///< OpenAI chat completions
  kCompletions,  ///< OpenAI completions
  kEmbeddings,   ///< OpenAI embeddings, llama-server's /embedding
  kResponses,    ///< OpenAI responses
  kMessages,     ///< Anthropic messages
  kLlama,        ///< llama-server's own /completion and /infill
  kGenerate,     ///< KServe and Triton generate, generate_stream
};

/// Of a path without its query.
Dialect dialect_of(std::string_view path);

/// Whether a stream carries usage only if the request says `stream_options.include_usage`.
constexpr bool must_ask_for_usage(Dialect dialect) {
  return dialect == Dialect::kChat || dialect == Dialect::kCompletions;
}

/// Why a body is not taken: status, code and fixed text of the client's answer.
struct BodyFault {
  int status = 400;
  std::string_view code;
  std::string_view message;
};

}  // namespace tb::meter

#include "meter/dialect.h"

namespace tb::meter {

Dialect dialect_of(std::string_view path) {
  if (path == "/v1/chat/completions") return Dialect::kChat;
  if (path == "/v1/completions") return Dialect::kCompletions;
  if (path == "/v1/embeddings" || path == "/embedding") return Dialect::kEmbeddings;
  if (path == "/v1/responses") return Dialect::kResponses;
  if (path == "/v1/messages") return Dialect::kMessages;
  if (path == "/completion" || path == "/infill") return Dialect::kLlama;
  const bool generates = path.ends_with("/generate") || path.ends_with("/generate_stream");
  return path.starts_with("/v2/models/") && generates ? Dialect::kGenerate : Dialect::kNone;
}

}  // namespace tb::meter

#include "sentinel/proxy/allowed_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace tb::sentinel::proxy {
namespace {

using enum Operation;

// clang-format off
constexpr auto kRoutes = std::to_array<Route>({
    {"GET", "/v1/models", "OpenAI", kDescribe, "the models that are served"},
    {"GET", "/v1/models/{model}", "OpenAI", kDescribe, "one of them"},
    {"POST", "/v1/chat/completions", "OpenAI", kChat, "chat, streamed or not"},
    {"POST", "/v1/completions", "OpenAI", kTextCompletion, "completion of a text"},
    {"POST", "/v1/embeddings", "OpenAI", kEmbeddings, "embeddings"},
    {"POST", "/v1/responses", "OpenAI", kChat, "a response; those kept by the runtime are not given out again, see below"},
    {"POST", "/v1/audio/transcriptions", "OpenAI", kTranscription, "speech to text"},
    {"POST", "/v1/audio/translations", "OpenAI", kTranscription, "speech to English text"},
    {"POST", "/v1/rerank", "vLLM, llama-server", kRerank, "documents in their order of relevance"},
    {"POST", "/v2/rerank", "vLLM (Cohere's form)", kRerank, "the same"},
    {"POST", "/v2/embed", "vLLM (Cohere's form)", kEmbeddings, "embeddings"},
    {"POST", "/v1/score", "vLLM", kRerank, "likeness of pairs of texts"},
    {"POST", "/v1/messages", "Anthropic", kChat, "chat, streamed or not"},
    {"POST", "/v1/messages/count_tokens", "Anthropic", kTokenize, "how many tokens a request has"},
    {"GET", "/v2", "KServe v2, Triton", kDescribe, "name and extensions of the server"},
    {"GET", "/v2/health/live", "KServe v2, Triton", kDescribe, "the runtime lives"},
    {"GET", "/v2/health/ready", "KServe v2, Triton", kDescribe, "the runtime can serve"},
    {"GET", "/v2/models/{model}", "KServe v2, Triton", kDescribe, "inputs and outputs of a model"},
    {"GET", "/v2/models/{model}/ready", "KServe v2, Triton", kDescribe, "a model can serve"},
    {"POST", "/v2/models/{model}/infer", "KServe v2, Triton", kInfer, "inference"},
    {"POST", "/v2/models/{model}/generate", "Triton", kTextCompletion, "generation"},
    {"POST", "/v2/models/{model}/generate_stream", "Triton", kTextCompletion, "the same, streamed"},
    {"GET", "/v2/models/{model}/versions/{version}", "KServe v2, Triton", kDescribe, "as above, of one version"},
    {"GET", "/v2/models/{model}/versions/{version}/ready", "KServe v2, Triton", kDescribe, ""},
    {"POST", "/v2/models/{model}/versions/{version}/infer", "KServe v2, Triton", kInfer, ""},
    {"POST", "/v2/models/{model}/versions/{version}/generate", "Triton", kTextCompletion, ""},
    {"POST", "/v2/models/{model}/versions/{version}/generate_stream", "Triton", kTextCompletion, ""},
    {"POST", "/completion", "llama-server", kTextCompletion, "its own form of completion"},
    {"POST", "/embedding", "llama-server", kEmbeddings, "its own form of embeddings"},
    {"POST", "/infill", "llama-server", kTextCompletion, "completion between two texts"},
    {"POST", "/apply-template", "llama-server", kTokenize, "a chat as the text that the model reads"},
    {"POST", "/tokenize", "llama-server, vLLM", kTokenize, "a text as tokens"},
    {"POST", "/detokenize", "llama-server, vLLM", kTokenize, "tokens as a text"},
});

constexpr std::string_view kSecondWay = "a second way to what is open above; one is enough to count";
constexpr std::string_view kAdmin = "changes what is served, for everybody";
constexpr std::string_view kOthers = "tells what other users ask, or how much";
constexpr std::string_view kInside = "tells of the inside of the runtime";
constexpr std::string_view kOwnPort = "the sentinel has its own, on TB_HEALTH_ADDR";
constexpr std::string_view kPaths = "takes a path on this machine from whoever asks";

constexpr auto kClosed = std::to_array<ClosedPath>({
    {"/v1/load_lora_adapter", "vLLM", kPaths},
    {"/v1/unload_lora_adapter", "vLLM", kAdmin},
    {"/update_weights", "vLLM", kAdmin},
    {"/init_weight_transfer_engine", "vLLM", "sends weights elsewhere"},
    {"/start_weight_update", "vLLM", kAdmin},
    {"/finish_weight_update", "vLLM", kAdmin},
    {"/get_world_size", "vLLM", kInside},
    {"/collective_rpc", "vLLM", "runs any method of the workers"},
    {"/pause", "vLLM", kAdmin},
    {"/resume", "vLLM", kAdmin},
    {"/is_paused", "vLLM", kInside},
    {"/sleep", "vLLM", kAdmin},
    {"/wake_up", "vLLM", kAdmin},
    {"/is_sleeping", "vLLM", kInside},
    {"/scale_elastic_ep", "vLLM", kAdmin},
    {"/is_scaling_elastic_ep", "vLLM", kInside},
    {"/reset_prefix_cache", "vLLM", kAdmin},
    {"/reset_mm_cache", "vLLM", kAdmin},
    {"/reset_encoder_cache", "vLLM", kAdmin},
    {"/abort_requests", "vLLM", "ends other users' requests"},
    {"/start_profile", "vLLM", kAdmin},
    {"/stop_profile", "vLLM", kAdmin},
    {"/server_info", "vLLM", kInside},
    {"/tokenizer_info", "vLLM", "gives the tokenizer's configuration away"},
    {"/invocations", "vLLM, SageMaker", kSecondWay},
    {"/inference/v1/generate", "vLLM", kSecondWay},
    {"/generative_scoring", "vLLM", kSecondWay},
    {"/pooling", "vLLM", "gives the model's hidden states: extraction made easy"},
    {"/classify", "vLLM", kSecondWay},
    {"/score", "vLLM", kSecondWay},
    {"/rerank", "vLLM, llama-server", kSecondWay},
    {"/v1/chat/completions/batch", "vLLM", "many answers in one; they cannot be counted as they pass"},
    {"/v1/chat/completions/render", "vLLM", kSecondWay},
    {"/v1/completions/render", "vLLM", kSecondWay},
    {"/v1/responses/{response}", "vLLM, OpenAI", "gives anybody's stored answer to whoever has its id, and answers made in the background, uncounted"},
    {"/v1/responses/{response}/cancel", "vLLM, OpenAI", "ends anybody's answer"},
    {"/load", "vLLM", kOthers},
    {"/version", "vLLM", kInside},
    {"/ping", "vLLM, SageMaker", kOwnPort},
    {"/docs", "vLLM", kInside},
    {"/redoc", "vLLM", kInside},
    {"/openapi.json", "vLLM", kInside},
    {"/health", "all", kOwnPort},
    {"/v1/health", "llama-server", kOwnPort},
    {"/metrics", "all", kOthers},
    {"/", "llama-server", "its web page"},
    {"/slots", "llama-server", "tells other users' prompts"},
    {"/slots/{slot}", "llama-server", "writes other users' prompts to a file"},
    {"/props", "llama-server", "tells the model's path; POST changes what is served"},
    {"/lora-adapters", "llama-server", "tells paths; POST changes what is served"},
    {"/models", "llama-server", kSecondWay},
    {"/models/load", "llama-server", kAdmin},
    {"/models/unload", "llama-server", kAdmin},
    {"/models/{model}", "llama-server", kAdmin},
    {"/v1/chat/completions/control", "llama-server", "steers other users' answers"},
    {"/chat/completions", "llama-server", kSecondWay},
    {"/completions", "llama-server", kSecondWay},
    {"/responses", "llama-server", kSecondWay},
    {"/embeddings", "llama-server", kSecondWay},
    {"/reranking", "llama-server", kSecondWay},
    {"/v1/reranking", "llama-server", kSecondWay},
    {"/audio/transcriptions", "llama-server", kSecondWay},
    {"/api/chat", "llama-server (Ollama's form)", kSecondWay},
    {"/api/show", "llama-server (Ollama's form)", kInside},
    {"/api/tags", "llama-server (Ollama's form)", kSecondWay},
    {"/tools", "llama-server", "runs tools on this machine"},
    {"/cors-proxy", "llama-server", "fetches any address from this machine"},
    {"/v2/repository/index", "Triton", kInside},
    {"/v2/repository/models/{model}/load", "Triton", "loads a model from the body of a request"},
    {"/v2/repository/models/{model}/unload", "Triton", kAdmin},
    {"/v2/models/{model}/config", "Triton", kInside},
    {"/v2/models/{model}/stats", "Triton", kOthers},
    {"/v2/models/stats", "Triton", kOthers},
    {"/v2/models/{model}/trace/setting", "Triton", "writes traces of other users' requests to a file"},
    {"/v2/trace/setting", "Triton", "writes traces of other users' requests to a file"},
    {"/v2/logging", "Triton", kPaths},
    {"/v2/systemsharedmemory/status", "Triton", kInside},
    {"/v2/systemsharedmemory/region/{region}/register", "Triton", "reads and writes memory of this machine"},
    {"/v2/systemsharedmemory/region/{region}/unregister", "Triton", kAdmin},
    {"/v2/cudasharedmemory/status", "Triton", kInside},
    {"/v2/cudasharedmemory/region/{region}/register", "Triton", "reads and writes memory of the GPU"},
    {"/v2/cudasharedmemory/region/{region}/unregister", "Triton", kAdmin},
});
// clang-format on

bool is_segment_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
         c == ':' || c == '-';
}

bool is_plain_segment(std::string_view segment) {
  return !segment.empty() && segment.size() <= 128 && segment != "." && segment != ".." &&
         std::ranges::all_of(segment, is_segment_char);
}

/// A closed path is no model's name: `/v2/models/stats` is not a model called stats.
bool is_closed_by_name(std::string_view path) {
  return std::ranges::any_of(kClosed, [path](const ClosedPath& closed) { return closed.path == path; });
}

bool matches_segments(std::string_view pattern, std::string_view path) {
  while (true) {
    const std::size_t pattern_end = std::min(pattern.find('/', 1), pattern.size());
    const std::size_t path_end = std::min(path.find('/', 1), path.size());
    const std::string_view want = pattern.substr(0, pattern_end);
    const std::string_view have = path.substr(0, path_end);
    if (want.starts_with("/{") ? have.empty() || !is_plain_segment(have.substr(1)) : want != have) return false;
    pattern.remove_prefix(pattern_end);
    path.remove_prefix(path_end);
    if (pattern.empty() || path.empty()) return pattern.empty() && path.empty();
  }
}

}  // namespace

std::string_view operation_name(Operation operation) {
  constexpr std::array<std::string_view, kOperations> kNames = {
      "chat", "text_completion", "embeddings", "rerank", "transcription", "infer", "tokenize", "describe"};
  return kNames[static_cast<std::size_t>(operation)];
}

std::span<const Route> all_routes() {
  return kRoutes;
}

std::span<const ClosedPath> closed_paths() {
  return kClosed;
}

bool matches_pattern(std::string_view pattern, std::string_view path) {
  if (pattern.find('{') == std::string_view::npos) return pattern == path;
  return matches_segments(pattern, path) && !is_closed_by_name(path);
}

bool is_known_pattern(std::string_view pattern) {
  return std::ranges::any_of(kRoutes, [&](const Route& route) { return route.pattern == pattern; });
}

const Route* find_route(std::string_view method, std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  const auto found = std::ranges::find_if(
      kRoutes, [&](const Route& route) { return route.method == method && matches_pattern(route.pattern, path); });
  return found == kRoutes.end() ? nullptr : &*found;
}

std::string allowed_paths_document() {
  std::string out =
      "# Paths that may pass\n\n"
      "Printed by `trustbridge-sentinel --print-allowed-paths` from the table in "
      "`src/sentinel/proxy/allowed_paths.cc`; a "
      "test\n"
      "holds this page against it.\n\n"
      "What is not in the first table is answered 403 `path_not_allowed`, whatever the runtime would have said. A path "
      "matches\n"
      "as it stands: `%`, `\\`, `;`, `//`, dot segments and non-ASCII bytes are refused, so that the sentinel and the "
      "runtime\n"
      "cannot read one path in two ways. `TB_ALLOWED_PATHS` and the contract's `runtime` can only narrow the table. "
      "Another\n"
      "method on an open path is 405. A change of this table is a change of what a provider agreed to: it needs a "
      "reason.\n\n"
      "## Open\n\n| method | path | of | what | in metrics |\n|---|---|---|---|---|\n";
  for (const Route& route : kRoutes) {
    out += fmt::format("| {} | `{}` | {} | {} | `{}` |\n", route.method, route.pattern, route.api, route.what,
                       operation_name(route.operation));
  }
  out +=
      "\n## Known, and closed\n\n"
      "By name, so that nobody has to wonder whether it was forgotten. Closed is everything else as well.\n\n"
      "| path | of | why |\n|---|---|---|\n";
  for (const ClosedPath& closed : kClosed) {
    out += fmt::format("| `{}` | {} | {} |\n", closed.path, closed.runtime, closed.why);
  }
  return out;
}

}  // namespace tb::sentinel::proxy

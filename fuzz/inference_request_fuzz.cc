// A request body gives the same in whatever pieces it comes; what is taken is one JSON object and stays one, and only
// what was decided is changed in it.
#include <string>

#include "base/json.h"
#include "fuzz.h"
#include "meter/request_body.h"

namespace {

using tb::meter::Dialect;
using tb::meter::RequestBody;

struct Sent {
  bool taken = true;
  std::string body;
};

Sent send(std::string_view input, std::size_t piece_bytes, Dialect dialect, bool lower) {
  RequestBody body(
      dialect,
      [&](const tb::meter::RequestFacts& facts) -> std::expected<tb::meter::RequestVerdict, tb::meter::BodyFault> {
        FUZZ_CHECK(facts.sequences >= 1 || facts.prompts == 0);
        FUZZ_CHECK(facts.sequences <= RequestBody::kMaxSequences);
        FUZZ_CHECK(facts.output_each.value_or(0) >= 0);
        if (lower) return tb::meter::RequestVerdict{5};
        return tb::meter::RequestVerdict{};
      });
  Sent out;
  std::size_t at = 0;
  do {
    const std::string_view piece = input.substr(at, piece_bytes);
    at += piece.size();
    if (body.feed(piece, at == input.size(), out.body)) return {false, ""};
  } while (at < input.size());
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  if (bytes == 0) return 0;
  const auto dialect = static_cast<Dialect>(1 + data[0] % 7);
  std::string input(reinterpret_cast<const char*>(data) + 1, bytes - 1);
  // Long bodies stream, those of a fuzzer are short.
  const bool padded = (data[0] & 0x80) != 0 && input.starts_with('{') &&
                      input.find_first_not_of(" \t\r\n", 1) < input.size() &&
                      input[input.find_first_not_of(" \t\r\n", 1)] == '"';
  const std::string padding = "\"pad\":\"" + std::string(70000, 'x') + "\",";
  if (padded) input.insert(1, padding);
  for (const bool lower : {false, true}) {
    const Sent whole = send(input, input.size() + 1, dialect, lower);
    for (const std::size_t piece : {std::size_t{padded ? 4099U : 1U}, std::size_t{padded ? 333U : 5U}}) {
      const Sent other = send(input, piece, dialect, lower);
      FUZZ_CHECK(other.taken == whole.taken && other.body == whole.body);
    }
    if (!whole.taken) continue;
    // The strict reader may refuse what passes (a name twice further in, half a surrogate), but not the other way.
    const auto before = tb::Json::parse(input, {.depth = 65});
    if (!before) continue;
    const auto after = tb::Json::parse(whole.body, {.depth = 65});
    FUZZ_CHECK(after && after->is_object());
    const tb::Json* stream = before->find("stream");
    const bool streams = stream != nullptr && stream->is_bool() && stream->as_bool();
    if (streams && tb::meter::must_ask_for_usage(dialect)) {
      const tb::Json* options = after->find("stream_options");
      FUZZ_CHECK(options != nullptr && options->find("include_usage") != nullptr);
      FUZZ_CHECK(options->find("include_usage")->as_bool());
    } else if (!lower) {
      // The options of a long body go on before it is known whether the answer will stream.
      FUZZ_CHECK(whole.body == input || (padded && before->find("stream_options") != nullptr));
    }
    const tb::Json* most = after->find("max_tokens");
    if (lower && dialect == Dialect::kChat)
      FUZZ_CHECK(after->find("max_completion_tokens") != nullptr || most != nullptr);
    if (lower && most != nullptr && most->is_integer())
      FUZZ_CHECK(most->as_integer() <= 5 || dialect == Dialect::kEmbeddings);
  }
  return 0;
}

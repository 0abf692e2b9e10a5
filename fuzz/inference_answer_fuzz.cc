// An answer passes the same in whatever pieces it comes; what the client asked for passes byte for byte; what is billed
// lies between the bounds.
#include <string>

#include "fuzz.h"
#include "meter/answer_body.h"
#include "meter/usage_rule.h"

namespace {

using namespace tb::meter;

struct Passed {
  std::string body;
  AnswerTally tally;
};

Passed pass(std::string_view input, std::size_t piece_bytes, const AnswerTerms& terms) {
  AnswerBody body(terms);
  Passed out;
  for (std::size_t at = 0; at < input.size(); at += piece_bytes) {
    body.feed(input.substr(at, piece_bytes), false, out.body);
  }
  body.feed("", true, out.body);
  out.tally = body.tally();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  if (bytes < 2) return 0;
  AnswerTerms terms{.dialect = static_cast<Dialect>(1 + data[0] % 7),
                    .form = static_cast<AnswerForm>(data[1] % 3),
                    .usage_asked = (data[1] & 4) == 0,
                    .input_estimate = 10};
  if ((data[1] & 8) != 0) terms.cut_after = data[1] >> 4;
  const auto input = std::string_view(reinterpret_cast<const char*>(data), bytes).substr(2);
  const Passed whole = pass(input, input.size() + 1, terms);
  const UsageBounds bounds{.input_estimate = 10, .input_most = 100, .output_most = 50};
  const TokenUsage usage = weigh_usage(whole.tally, bounds);
  FUZZ_CHECK(usage.input_tokens >= 0 && usage.input_tokens <= 100);
  FUZZ_CHECK(usage.output_tokens >= 0 && usage.output_tokens <= 50);
  FUZZ_CHECK(usage.output_tokens >= std::min<std::int64_t>(50, whole.tally.certain));
  if (terms.usage_asked && !whole.tally.cut) FUZZ_CHECK(whole.body == input);
  if (!whole.tally.cut) FUZZ_CHECK(whole.body.size() <= input.size());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{5}}) {
    const Passed other = pass(input, piece, terms);
    FUZZ_CHECK(other.body == whole.body);
    const TokenUsage again = weigh_usage(other.tally, bounds);
    FUZZ_CHECK(again.input_tokens == usage.input_tokens && again.output_tokens == usage.output_tokens);
    FUZZ_CHECK(again.estimated == usage.estimated && again.disputed == usage.disputed);
  }
  return 0;
}

// The answer of a control plane that may be hostile: it is read, denied or refused with an Error, and what is read can
// be written and read again.
#include "api/authorize.h"
#include "base/error.h"
#include "fuzz.h"

namespace {

using namespace tb;
using namespace tb::api;

void check_answer(std::string_view body, const AnswerRules& rules) {
  std::optional<AuthorizeOutcome> outcome;
  try {
    outcome = parse_authorize_answer(body, rules);
  } catch (const Error& error) {
    FUZZ_CHECK(error.reason == "authorize_answer_malformed");
    return;
  }
  if (const auto* answer = std::get_if<AuthorizeAnswer>(&*outcome)) {
    FUZZ_CHECK(!(answer->key && answer->wrapped_key));
    FUZZ_CHECK(!rules.key_required || answer->key || answer->wrapped_key);
    FUZZ_CHECK(rules.plain_key_allowed || !answer->key);
    const auto again = parse_authorize_answer(answer->to_json().dump(), rules);
    FUZZ_CHECK(std::get<AuthorizeAnswer>(again).to_json().dump() == answer->to_json().dump());
  } else {
    const auto& denial = std::get<Denial>(*outcome);
    const auto again = parse_denial(denial.to_json().dump());
    FUZZ_CHECK(again && again->reason == denial.reason && again->known == denial.known);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto body = as_text({data, bytes});
  for (const bool plain : {false, true}) {
    for (const bool required : {false, true})
      check_answer(body, {.plain_key_allowed = plain, .key_required = required});
  }
  (void)parse_denial(body);
  try {
    const auto request = AuthorizeRequest::parse(body);
    FUZZ_CHECK(AuthorizeRequest::parse(request.to_json().dump()).to_json().dump() == request.to_json().dump());
  } catch (const Error&) {
  }
  return 0;
}

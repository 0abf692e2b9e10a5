// An event of the log, as a simulation reads it: refused by name, or its facts are written again as they were read.
#include "base/error.h"
#include "controlplane/logged_request.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb;
  using namespace tb::controlplane;
  try {
    const auto request = parse_logged_request(1, as_text({data, bytes}));
    if (!request || !request->has_facts) return 0;
    FUZZ_CHECK(request->is_request());
    api::Contract contract;
    contract.state = request->state;
    const std::string written = facts_to_json(request->facts, request->shown, contract).dump();
    Json event = Json::object();
    event.set("ts", to_rfc3339(request->facts.now, true));
    event.set("type", "license_denied");
    Json detail = Json::object();
    detail.set("asset_id", request->facts.asset_id);
    detail.set("hw_id", request->facts.hw_id);
    detail.set("facts", value_or_throw(Json::parse(written)));
    event.set("detail", std::move(detail));
    const auto again = parse_logged_request(1, event.dump());
    FUZZ_CHECK(again && again->has_facts);
    FUZZ_CHECK(facts_to_json(again->facts, again->shown, contract).dump() == written);
  } catch (const Error& error) {
    FUZZ_CHECK(error.reason != "internal");
  }
  return 0;
}

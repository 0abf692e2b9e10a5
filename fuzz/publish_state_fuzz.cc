// A state of publish that is accepted is written and read the same again.
#include "cli/publish_state.h"

#include "base/error.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using tb::cli::PublishState;
  try {
    const PublishState state = PublishState::parse(tb::as_text({data, bytes}));
    FUZZ_CHECK(PublishState::parse(state.text()) == state);
    for (const auto& step : state.steps) {
      FUZZ_CHECK(tb::cli::standing_of(&step, step.inputs).changed.empty());
      FUZZ_CHECK(!tb::cli::standing_of(&step, {}).changed.empty());
    }
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "publish_state_malformed");
  }
  return 0;
}

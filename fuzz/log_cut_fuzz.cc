// A cut that is accepted is written the same again, and its frontier is the tree that its checkpoint names.
#include "fuzz.h"
#include "tlog/segments.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view text = tb::as_text({data, bytes});
  try {
    const auto cut = tb::tlog::Cut::parse(text);
    FUZZ_CHECK(cut.to_text() == text);
    const auto checkpoint = tb::tlog::Checkpoint::parse(cut.checkpoint.text);
    FUZZ_CHECK(checkpoint.size == cut.tree.size() && checkpoint.root == cut.tree.root());
    FUZZ_CHECK(cut.head().records == checkpoint.size);
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "checkpoint_malformed" || error.reason == "note_malformed");
  }
  return 0;
}

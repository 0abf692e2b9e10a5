// What a blob service, or whoever stands in for it, answers to an upload: a list of blocks that is taken names each once
// and gives its size; a fault's code holds letters and digits, and its error is one of the table's.
#include <algorithm>
#include <cctype>
#include <set>

#include "azure/block_answers.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto text = tb::as_text({data, bytes});
  if (const auto blocks = tb::azure::parse_uncommitted(text)) {
    std::set<std::string> names;
    for (const auto& block : *blocks) FUZZ_CHECK(!block.id.empty() && names.insert(block.id).second);
  }
  tb::http::ClientResponse answer{.status = 400, .body = std::string(text)};
  const std::string code = tb::azure::fault_code(answer);
  FUZZ_CHECK(code.size() <= 64 && std::ranges::all_of(code, [](unsigned char c) { return std::isalnum(c) != 0; }));
  const tb::Error error = tb::azure::fault_of(answer, "Put Block");
  FUZZ_CHECK(tb::reason_info(error.reason).reason == error.reason);
  FUZZ_CHECK(std::ranges::all_of(error.message, [](unsigned char c) { return c >= 0x20 && c < 0x7f; }));
  return 0;
}

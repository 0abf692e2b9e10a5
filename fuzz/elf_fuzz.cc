// An ELF file that somebody names as the program of an image: no offset leads out of it, and changing its loader
// changes nothing else.
#include "fuzz.h"
#include "oci/elf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  tb::Bytes file(data, data + bytes);
  const auto facts = tb::oci::parse_elf(file);
  if (!facts) return 0;
  for (const std::string& name : facts->needed) FUZZ_CHECK(!name.empty() && name.find('/') == std::string::npos);
  if (facts->interpreter.empty()) return 0;
  FUZZ_CHECK(facts->interpreter.size() < facts->interpreter_bytes);
  FUZZ_CHECK(tb::oci::set_interpreter(file, *facts, "/x").has_value() == (facts->interpreter_bytes > 2));
  return 0;
}

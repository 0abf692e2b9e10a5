// A header of a tar that others wrote: a size that is taken fits, and what we write is read as the same.
#include "fuzz.h"
#include "oci/archive.h"
#include "oci/layer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::oci;
  if (const auto header = parse_archive_header({data, bytes}); header && *header)
    FUZZ_CHECK((*header)->bytes <= kMaxBlobBytes);
  const LayerEntry entry{.path = std::string(tb::as_text({data, bytes})), .content = {}, .source = {}};
  if (const auto written = tar_header(entry, bytes, 0)) {
    const auto again = parse_archive_header(tb::as_bytes(*written));
    FUZZ_CHECK(again && *again && (*again)->name == entry.path && (*again)->bytes == bytes);
  }
  return 0;
}

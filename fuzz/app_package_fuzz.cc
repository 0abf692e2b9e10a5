// A stranger's package: a zip, or the three documents with a zero byte between them. Whatever it is, looking at it
// ends, and what is found stands where it says.
#include <algorithm>

#include "azure/app/check.h"
#include "base/error.h"
#include "fuzz.h"

namespace {

using namespace tb::azure;

void look(const PackageFiles& files) {
  const auto found = check_package(files, "2026-11-26");
  FUZZ_CHECK(found.size() <= 500);
  for (const Finding& finding : found) {
    const auto file = files.find(finding.file);
    const auto lines = file == files.end() ? 0 : std::ranges::count(file->second, '\n') + 1;
    FUZZ_CHECK(finding.line <= static_cast<std::size_t>(lines));
    FUZZ_CHECK(!finding.message.empty() && !finding.rule.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view text = tb::as_text({data, bytes});
  if (text.starts_with("PK")) {
    try {
      const PackageFiles files = files_of_zip({data, bytes});
      std::size_t unpacked = 0;
      for (const auto& [name, content] : files) {
        unpacked += content.size();
        FUZZ_CHECK(!name.starts_with('/') && !("/" + name + "/").contains("/../"));
      }
      FUZZ_CHECK(unpacked <= kMaxPackageBytes && files.size() <= kMaxPackageFiles);
      look(files);
    } catch (const tb::Error& error) {
      FUZZ_CHECK(error.reason == "package_malformed");
    }
    return 0;
  }
  PackageFiles files;
  std::string_view rest = text;
  for (const char* name : {"mainTemplate.json", "createUiDefinition.json", "viewDefinition.json"}) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    files[name] = std::string(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  try {
    look(files);
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "package_malformed");
  }
  return 0;
}

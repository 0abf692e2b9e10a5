// A manifest that is accepted has one canonical form, reads the same from it, and breaks no rule that others rely on.
#include "asset/manifest.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using tb::asset::Manifest;
  const auto manifest = Manifest::parse(tb::as_text({data, bytes}));
  if (!manifest) return 0;

  const auto canonical = manifest->document().canonical();
  FUZZ_CHECK(canonical.has_value());
  const auto again = Manifest::parse(*canonical);
  FUZZ_CHECK(again.has_value());
  FUZZ_CHECK(again->document().canonical() == *canonical);
  FUZZ_CHECK(again->sha256() == manifest->sha256());
  FUZZ_CHECK(again->metadata() == manifest->metadata());
  const auto pretty = Manifest::parse(manifest->text());
  FUZZ_CHECK(pretty.has_value() && pretty->sha256() == manifest->sha256());

  FUZZ_CHECK(tb::asset::is_asset_id(manifest->asset_id()));
  FUZZ_CHECK(tb::asset::is_weights_filename(manifest->weights_filename()));
  FUZZ_CHECK(manifest->layout().plaintext_bytes() == manifest->plaintext_bytes());
  if (const auto& content = manifest->content()) {
    FUZZ_CHECK(tb::asset::validate(*content, manifest->plaintext_bytes()).has_value());
    for (const auto& file : content->files) {
      FUZZ_CHECK(tb::asset::is_relative_path(file.path));
      FUZZ_CHECK(file.bytes <= manifest->plaintext_bytes() - file.offset);
    }
  }
  return 0;
}

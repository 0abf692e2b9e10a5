// Manifests, indexes and configurations of images, by whoever keeps a registry: what is taken names blobs by digests
// only, and is written to what is read as the same.
#include "fuzz.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::oci;
  const auto text = tb::as_text({data, bytes});
  if (const auto manifest = parse_manifest(text)) {
    FUZZ_CHECK(is_digest(manifest->config.digest) && manifest->layers.size() <= kMaxEntries);
    const auto again = parse_manifest(manifest->to_text());
    FUZZ_CHECK(again && again->config == manifest->config && again->layers == manifest->layers);
  }
  if (const auto index = parse_index(text)) {
    for (const auto& one : *index) FUZZ_CHECK(is_digest(one.digest));
    if (const auto chosen = choose_manifest(*index)) FUZZ_CHECK(chosen->os.empty() || chosen->os == "linux");
  }
  for (const std::size_t layers : {0U, 1U, 2U}) {
    const auto config = ImageConfig::parse(text, layers);
    if (!config) continue;
    ConfigChange change;
    change.entrypoint = {"/x"};
    change.environment["A"] = "b";
    change.labels["l"] = "m";
    change.exposed_ports = {"1/tcp"};
    change.diff_ids = {"sha256:" + std::string(64, 'a')};
    change.history = {"h"};
    const auto changed = config->with(change);
    FUZZ_CHECK(changed.environment("A") == "b");
    FUZZ_CHECK(changed.diff_ids().size() == layers + 1);
    FUZZ_CHECK(ImageConfig::parse(changed.to_text(), layers + 1).has_value());
  }
  if (const auto reference = parse_reference(text)) {
    FUZZ_CHECK(reference->repository.find("..") == std::string::npos && !reference->repository.starts_with('/'));
    const auto again = parse_reference(reference->to_text());
    FUZZ_CHECK(again && *again == *reference);
  }
  return 0;
}

// Looking into an asset: header and manifest for everybody; with the key, tensors and metadata of the model files, read
// through random access, so that only the chunks that hold them are opened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "asset/gguf.h"
#include "asset/safetensors.h"
#include "cli/manifest_file.h"
#include "tbenc/layout.h"

namespace tb::cli {

struct InspectOptions {
  std::string in;
  std::string key_file;  ///< empty: no key
  ManifestFlags manifest;
};

/// A model file inside the asset; exactly one of the two is set.
struct ModelFile {
  std::string path;  ///< empty for a single file without a name
  std::uint64_t bytes = 0;
  std::optional<asset::SafetensorsHeader> safetensors;
  std::optional<asset::GgufHeader> gguf;
};

struct Inspection {
  tbenc::Header header;
  tbenc::Layout layout;
  std::uint64_t ciphertext_bytes = 0;
  std::optional<LoadedManifest> loaded;
  std::vector<ModelFile> models;     ///< with the key only
  std::uint64_t plaintext_read = 0;  ///< bytes of plaintext that were looked at
};

/// Throws "header_malformed", "tag_mismatch", "safetensors_malformed", "gguf_malformed", and the errors of
/// load_manifest. A manifest that is not there is no error unless one was named.
Inspection inspect_asset(const InspectOptions& options);

Json to_json(const Inspection& inspection);
/// For people: at most 20 tensors and 40 metadata entries of each model file.
std::string to_text(const Inspection& inspection);

}  // namespace tb::cli

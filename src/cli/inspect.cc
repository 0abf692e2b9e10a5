#include "cli/inspect.h"

#include <fmt/format.h>

#include <mutex>

#include "cli/key_file.h"
#include "cli/paths.h"
#include "tbenc/random_access.h"

namespace tb::cli {
namespace {

// The plaintext as a source: every read opens the chunks that it touches.
class PlaintextSource final : public tbenc::RandomSource {
 public:
  PlaintextSource(tbenc::RandomReader reader, std::string name) : reader_(std::move(reader)), name_(std::move(name)) {}
  std::uint64_t size() const override { return reader_.layout().plaintext_bytes(); }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override {
    std::lock_guard lock(mutex_);
    bytes_read_ += out.size();
    return reader_.read_at(offset, out);
  }
  std::string name() const override { return name_; }
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  mutable std::mutex mutex_;
  mutable tbenc::RandomReader reader_;
  mutable std::uint64_t bytes_read_ = 0;
  std::string name_;
};

bool starts_with_gguf(const PlaintextSource& source, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes < 4) return false;
  std::array<std::uint8_t, 4> magic{};
  value_or_throw(source.read_at(offset, magic));
  return as_text(magic) == "GGUF";
}

// A file with a bare name is known by its name, one without by how it starts.
void look_into(const PlaintextSource& source, const std::string& path, std::uint64_t offset, std::uint64_t bytes,
               std::vector<ModelFile>& out) {
  ModelFile model{path, bytes, std::nullopt, std::nullopt};
  if (path.ends_with(".safetensors")) {
    model.safetensors = value_or_throw(asset::read_safetensors(source, offset, bytes));
  } else if (path.ends_with(".gguf") ||
             (path.find('.') == std::string::npos && starts_with_gguf(source, offset, bytes))) {
    model.gguf = value_or_throw(asset::read_gguf(source, offset, bytes));
  } else {
    return;
  }
  out.push_back(std::move(model));
}

}  // namespace

Inspection inspect_asset(const InspectOptions& options) {
  std::optional<FileKey> key;
  if (!options.key_file.empty()) key = read_key_file(options.key_file);
  auto source = std::make_shared<tbenc::FileSource>(value_or_throw(tbenc::FileSource::open(options.in)));
  Bytes head(std::min<std::uint64_t>(source->size(), tbenc::kHeaderBytes));
  value_or_throw(source->read_at(0, head));
  const tbenc::Header header = value_or_throw(tbenc::parse_header(head));
  const std::uint64_t ciphertext_bytes = source->size();

  ManifestFlags flags = options.manifest;
  flags.allow_unauthenticated = true;
  if (flags.manifest.empty() && flags.asset_id.empty() && flags.provider_key.empty()) {
    flags.no_manifest |= !exists(manifest_path_of(options.in));
  }
  std::optional<LoadedManifest> loaded = load_manifest(flags, options.in, key ? &*key : nullptr);
  if (loaded) {
    value_or_throw(asset::check_file(loaded->manifest, header, ciphertext_bytes));
  }
  Inspection inspection{header,
                        value_or_throw(tbenc::Layout::from_ciphertext(ciphertext_bytes, header.chunk_bytes)),
                        ciphertext_bytes,
                        std::nullopt,
                        {},
                        0};
  if (key) {
    const PlaintextSource plain(value_or_throw(tbenc::RandomReader::open(*key, source, known_from(loaded))),
                                options.in);
    const std::optional<asset::Content> content = loaded ? loaded->manifest.content() : std::nullopt;
    if (content && content->is_tar()) {
      for (const asset::ContentFile& file : content->files) {
        look_into(plain, file.path, file.offset, file.bytes, inspection.models);
      }
    } else {
      look_into(plain, content ? content->name : "", 0, plain.size(), inspection.models);
    }
    inspection.plaintext_read = plain.bytes_read();
  }
  inspection.loaded = std::move(loaded);
  return inspection;
}

}  // namespace tb::cli

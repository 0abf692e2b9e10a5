// For tests only: an asset sealed in memory, with its manifest and key, to be served by a LyingServer and delivered.
#pragma once

#include <string>
#include <vector>

#include "asset/manifest.h"
#include "asset/pack.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "tbenc/parallel.h"
#include "tbenc/sink.h"
#include "tbenc/source.h"

namespace tb::blob {

inline Bytes sample_pattern(std::size_t bytes) {
  Bytes out(bytes);
  std::uint32_t x = 2463534242U;
  for (auto& b : out) {
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    b = static_cast<std::uint8_t>(x);
  }
  return out;
}

struct SealedSample {
  FileKey key;
  Bytes plain;
  Bytes ciphertext;
  asset::Manifest manifest;

  /// The manifest as the first implementation wrote it: without mac, content and nonce prefix.
  asset::Manifest without_mac() const {
    Json document = manifest.document();
    for (const char* name : {"mac", "nonce_prefix", "content"}) document.erase(name);
    return value_or_throw(asset::Manifest::from_json(document));
  }

  /// `content` nullopt: one raw file named model.bin.
  static SealedSample make(Bytes plain, std::uint32_t chunk_bytes,
                           std::optional<asset::Content> content = std::nullopt) {
    SealedSample sample{random_key(), std::move(plain), {}, value_or_throw(blank())};
    const auto header = value_or_throw(tbenc::new_header(chunk_bytes));
    const tbenc::MemorySource source(sample.plain);
    tbenc::MemorySink sink(sample.ciphertext);
    const auto sealed = value_or_throw(tbenc::encrypt(sample.key, header, source, sink, {.jobs = 1}));
    asset::ManifestDraft draft;
    draft.asset_id = "sample";
    draft.header = header;
    draft.plaintext_bytes = sealed.plaintext_bytes;
    draft.sha256_ciphertext = sealed.sha256_ciphertext;
    draft.content = content ? std::move(*content) : raw_file();
    sample.manifest = value_or_throw(draft.build(sample.key));
    return sample;
  }

  /// The model directory `path` as a tar.
  static SealedSample of_directory(const std::string& path, std::uint32_t chunk_bytes) {
    auto pack = value_or_throw(asset::PackSource::scan(path));
    Bytes plain(static_cast<std::size_t>(pack.plaintext_bytes()));
    std::size_t filled = 0;
    while (const std::size_t n = value_or_throw(pack.read(MutableBytes(plain).subspan(filled)))) filled += n;
    return make(std::move(plain), chunk_bytes, pack.content());
  }

 private:
  static asset::Content raw_file() {
    asset::Content content;
    content.name = "model.bin";
    return content;
  }
  static Result<asset::Manifest> blank() {
    asset::ManifestDraft draft;
    draft.asset_id = "sample";
    draft.header = value_or_throw(tbenc::new_header());
    return draft.build(random_key());
  }
};

}  // namespace tb::blob

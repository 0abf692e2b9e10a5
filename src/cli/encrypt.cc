#include "cli/encrypt.h"

#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/paths.h"
#include "cli/sealing.h"

namespace tb::cli {
namespace {

constexpr mode_t kOutputMode = 0644;

struct Output {
  AtomicFile file;
  std::string path;
};

// Puts the key and then the outputs, the ciphertext last, under their names; takes back what it has put if a later one
// fails.
void commit_all(EncryptionKey& key, const std::string& key_path, std::vector<Output>& outputs) {
  throw_if_interrupted();
  key.commit();
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Result<> done = outputs[i].file.commit();
    if (done) continue;
    while (i-- > 0) unlink(outputs[i].path.c_str());
    if (key.is_new()) unlink(key_path.c_str());
    throw std::move(done.error());
  }
}

}  // namespace

EncryptedAsset encrypt_asset(const EncryptOptions& options, const Console& console) {
  const AssetPaths paths(options);
  Sealing sealing(options, paths);
  require_space(paths.ciphertext, sealing.ciphertext_bytes());
  const auto create = [&](const std::string& path) {
    return Output{value_or_throw(AtomicFile::create(path, kOutputMode, options.force)), path};
  };
  const auto fill = [](const Output& output, const std::string& text) {
    value_or_throw(write_full(output.file.fd(), as_bytes(text), output.path));
  };
  Output ciphertext = create(paths.ciphertext);
  std::vector<Output> outputs;
  outputs.push_back(create(paths.manifest));
  if (!paths.oms_bundle.empty()) outputs.push_back(create(paths.oms_bundle));

  // Last before the first byte is sealed: whatever is refused above leaves the key as it was.
  EncryptionKey key = EncryptionKey::take(paths.key, options.asset_id, sealing.header().nonce_prefix);
  tbenc::FdSink sink(ciphertext.file.fd(), paths.ciphertext);
  asset::Manifest manifest = sealing.run(key.key(), sink, console);
  fill(outputs.front(), manifest.text());
  if (!paths.oms_bundle.empty()) fill(outputs.back(), sealing.oms_bundle());
  outputs.push_back(std::move(ciphertext));
  const bool key_is_new = key.is_new();
  commit_all(key, paths.key, outputs);
  return {paths.ciphertext, paths.manifest,  paths.key,          paths.oms_bundle,
          key_is_new,       sealing.files(), std::move(manifest)};
}

}  // namespace tb::cli

#include "cli/encrypt.h"

#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/paths.h"
#include "cli/sealing.h"

namespace tb::cli {
namespace {

constexpr mode_t kOutputMode = 0644;

// Puts key, manifest and ciphertext under their names; takes back what it has put if a later one fails.
void commit_all(EncryptionKey& key, const AssetPaths& paths, AtomicFile& manifest, AtomicFile& ciphertext) {
  throw_if_interrupted();
  key.commit();
  Result<> done = manifest.commit();
  if (done) {
    done = ciphertext.commit();
    if (!done) unlink(paths.manifest.c_str());
  }
  if (!done) {
    if (key.is_new()) unlink(paths.key.c_str());
    throw std::move(done.error());
  }
}

}  // namespace

EncryptedAsset encrypt_asset(const EncryptOptions& options, const Console& console) {
  const AssetPaths paths(options);
  Sealing sealing(options, paths);
  require_space(paths.ciphertext, sealing.ciphertext_bytes());
  AtomicFile ciphertext = value_or_throw(AtomicFile::create(paths.ciphertext, kOutputMode, options.force));
  AtomicFile manifest_file = value_or_throw(AtomicFile::create(paths.manifest, kOutputMode, options.force));

  // Last before the first byte is sealed: whatever is refused above leaves the key as it was.
  EncryptionKey key = EncryptionKey::take(paths.key, options.asset_id, sealing.header().nonce_prefix);
  tbenc::FdSink sink(ciphertext.fd(), paths.ciphertext);
  asset::Manifest manifest = sealing.run(key.key(), sink, console);
  value_or_throw(write_full(manifest_file.fd(), as_bytes(manifest.text()), paths.manifest));
  const bool key_is_new = key.is_new();
  commit_all(key, paths, manifest_file, ciphertext);
  return {paths.ciphertext, paths.manifest, paths.key, key_is_new, sealing.files(), std::move(manifest)};
}

}  // namespace tb::cli

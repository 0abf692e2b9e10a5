#include "cli/encrypt.h"

#include <fmt/format.h>
#include <unistd.h>

#include "asset/pack.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/paths.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

constexpr mode_t kOutputMode = 0644;

void check(const EncryptOptions& options, const std::string& ciphertext) {
  if (!asset::is_asset_id(options.asset_id)) {
    throw Error("usage", "--asset-id must be 1 to 100 letters, digits, _ or -");
  }
  if (options.out == "-") throw Error("usage", "encrypt writes to a file: --out cannot be standard output");
  if (!asset::is_weights_filename(base_name(ciphertext))) {
    throw Error("usage", fmt::format("{} is not a file name that a manifest can carry", base_name(ciphertext)));
  }
}

void refuse_pickles(const asset::PackSource& source, const EncryptOptions& options) {
  const std::vector<std::string> files = source.pickle_files();
  if (files.empty() || options.allow_pickle) return;
  throw Error("pickle_refused", files.size() == 1
                                    ? fmt::format("{} is a pickle", files.front())
                                    : fmt::format("{} and {} more are pickles", files.front(), files.size() - 1));
}

tbenc::ParallelOptions parallel_options(const EncryptOptions& options, Progress& progress) {
  tbenc::ParallelOptions parallel;
  parallel.jobs = options.jobs;
  parallel.cancel = &interrupt_flag();
  parallel.progress = [&progress](std::uint64_t done) { progress.update(done); };
  return parallel;
}

// One raw file is read by all cores; a directory is a stream that is made on the way.
tbenc::EncryptResult seal(const EncryptOptions& options, const FileKey& key, const tbenc::Header& header,
                          asset::PackSource& source, tbenc::Sink& sink, Progress& progress) {
  const tbenc::ParallelOptions parallel = parallel_options(options, progress);
  if (source.content().is_tar() || options.plaintext_hashes) {
    return value_or_throw(tbenc::encrypt(key, header, source, sink, parallel));
  }
  const tbenc::FileSource file = value_or_throw(tbenc::FileSource::open(options.in));
  return value_or_throw(tbenc::encrypt(key, header, file, sink, parallel));
}

// Puts key, manifest and ciphertext under their names; takes back what it has put if a later one fails.
void commit_all(EncryptionKey& key, const std::string& key_path, AtomicFile& manifest, const std::string& manifest_path,
                AtomicFile& ciphertext) {
  throw_if_interrupted();
  key.commit();
  Result<> done = manifest.commit();
  if (done) {
    done = ciphertext.commit();
    if (!done) unlink(manifest_path.c_str());
  }
  if (!done) {
    if (key.is_new()) unlink(key_path.c_str());
    throw std::move(done.error());
  }
}

}  // namespace

EncryptedAsset encrypt_asset(const EncryptOptions& options, const Console& console) {
  const std::string out = ciphertext_path(options.out);
  const std::string manifest_path = options.manifest.empty() ? manifest_path_of(out) : options.manifest;
  const std::string key_path = options.key_file.empty() ? key_path_of(out) : options.key_file;
  check(options, out);
  require_apart({options.in, options.sign_key}, {out, manifest_path, key_path});
  std::optional<Ed25519PrivateKey> signer;
  if (!options.sign_key.empty()) signer = read_signing_key(options.sign_key);

  asset::PackSource source = value_or_throw(asset::PackSource::scan(options.in, options.plaintext_hashes));
  refuse_pickles(source, options);
  const tbenc::Header header = value_or_throw(tbenc::new_header(options.chunk_bytes));
  const tbenc::Layout layout =
      value_or_throw(tbenc::Layout::from_plaintext(source.plaintext_bytes(), options.chunk_bytes));
  require_space(out, layout.ciphertext_bytes());
  AtomicFile ciphertext = value_or_throw(AtomicFile::create(out, kOutputMode, options.force));
  AtomicFile manifest_file = value_or_throw(AtomicFile::create(manifest_path, kOutputMode, options.force));

  // Last before the first byte is sealed: whatever is refused above leaves the key as it was.
  EncryptionKey key = EncryptionKey::take(key_path, options.asset_id, header.nonce_prefix);
  tbenc::FdSink sink(ciphertext.fd(), out);
  const tbenc::EncryptResult sealed = [&] {
    Progress progress(console, "encrypt", source.plaintext_bytes());
    return seal(options, key.key(), header, source, sink, progress);
  }();

  asset::ManifestDraft draft;
  draft.asset_id = options.asset_id;
  draft.weights_filename = base_name(out);
  draft.header = header;
  draft.plaintext_bytes = sealed.plaintext_bytes;
  draft.sha256_ciphertext = sealed.sha256_ciphertext;
  draft.allow_finetune = options.allow_finetune;
  draft.version = options.version;
  draft.content = source.content();
  asset::Manifest manifest = value_or_throw(draft.build(key.key()));
  if (signer) manifest.sign(*signer);
  const std::string text = manifest.text();
  if (text.size() > asset::kFirstImplementationManifestBytes) {
    console.warning(fmt::format("the manifest has {}: sentinels of the first implementation read 1 MiB at most",
                                human_bytes(text.size())));
  }
  value_or_throw(write_full(manifest_file.fd(), as_bytes(text), manifest_path));
  const bool key_is_new = key.is_new();
  commit_all(key, key_path, manifest_file, manifest_path, ciphertext);
  const std::size_t files = source.content().is_tar() ? source.content().files.size() : 1;
  return {out, manifest_path, key_path, key_is_new, files, std::move(manifest)};
}

}  // namespace tb::cli

#include "cli/sealing.h"

#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/paths.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

void check(const EncryptOptions& options, const AssetPaths& paths) {
  if (!asset::is_asset_id(options.asset_id)) {
    throw Error("usage", "--asset-id must be 1 to 100 letters, digits, _ or -");
  }
  if (options.out == "-") throw Error("usage", "encrypt writes to a file: --out cannot be standard output");
  if (!asset::is_weights_filename(base_name(paths.ciphertext))) {
    throw Error("usage", fmt::format("{} is not a file name that a manifest can carry", base_name(paths.ciphertext)));
  }
  std::vector<std::string> outputs = {paths.ciphertext, paths.manifest, paths.key};
  if (!paths.oms_bundle.empty()) outputs.push_back(paths.oms_bundle);
  require_apart({options.in, options.sign_key, options.oms.key, options.oms.certificates}, outputs);
}

asset::PackSource scanned(const EncryptOptions& options) {
  asset::PackSource source = value_or_throw(asset::PackSource::scan(options.in, options.plaintext_hashes));
  const std::vector<std::string> files = source.pickle_files();
  if (files.empty() || options.allow_pickle) return source;
  throw Error("pickle_refused", files.size() == 1
                                    ? fmt::format("{} is a pickle", files.front())
                                    : fmt::format("{} and {} more are pickles", files.front(), files.size() - 1));
}

std::optional<Ed25519PrivateKey> signer_of(const EncryptOptions& options) {
  if (options.sign_key.empty()) return std::nullopt;
  return read_signing_key(options.sign_key);
}

}  // namespace

AssetPaths::AssetPaths(const EncryptOptions& options)
    : ciphertext(ciphertext_path(options.out)),
      manifest(options.manifest.empty() ? manifest_path_of(ciphertext) : options.manifest),
      key(options.key_file.empty() ? key_path_of(ciphertext) : options.key_file),
      oms_bundle(options.oms.key.empty()      ? ""
                 : options.oms.bundle.empty() ? oms_bundle_path_of(ciphertext)
                                              : options.oms.bundle) {}

Sealing::Sealing(const EncryptOptions& options, const AssetPaths& paths)
    : options_(options),
      weights_filename_((check(options, paths), base_name(paths.ciphertext))),
      signer_(signer_of(options)),
      source_(scanned(options)),
      signing_(OmsSigning::begin(options.oms, source_)),
      header_(value_or_throw(tbenc::new_header(options.chunk_bytes))),
      layout_(value_or_throw(tbenc::Layout::from_plaintext(source_.plaintext_bytes(), options.chunk_bytes))) {}

std::size_t Sealing::files() const {
  return source_.content().is_tar() ? source_.content().files.size() : 1;
}

// One raw file is read by all cores; a directory is a stream that is made on the way.
tbenc::EncryptResult Sealing::seal(const FileKey& key, tbenc::Sink& sink, Progress& progress) {
  tbenc::ParallelOptions parallel;
  parallel.jobs = options_.jobs;
  parallel.cancel = &interrupt_flag();
  parallel.progress = [&progress](std::uint64_t done) { progress.update(done); };
  if (signing_) parallel.on_plaintext = [this](ByteView plain) { signing_->update(plain); };
  if (source_.content().is_tar() || options_.plaintext_hashes) {
    return value_or_throw(tbenc::encrypt(key, header_, source_, sink, parallel));
  }
  const tbenc::FileSource file = value_or_throw(tbenc::FileSource::open(options_.in));
  return value_or_throw(tbenc::encrypt(key, header_, file, sink, parallel));
}

asset::Manifest Sealing::run(const FileKey& key, tbenc::Sink& sink, const Console& console) {
  const tbenc::EncryptResult sealed = [&] {
    Progress progress(console, "encrypt", source_.plaintext_bytes());
    return seal(key, sink, progress);
  }();
  asset::ManifestDraft draft;
  draft.asset_id = options_.asset_id;
  draft.weights_filename = weights_filename_;
  draft.header = header_;
  draft.plaintext_bytes = sealed.plaintext_bytes;
  draft.sha256_ciphertext = sealed.sha256_ciphertext;
  draft.allow_finetune = options_.allow_finetune;
  draft.version = options_.version;
  draft.content = source_.content();
  asset::Manifest manifest = value_or_throw(draft.build(key));
  if (signer_) manifest.sign(*signer_);
  const std::string text = manifest.text();
  if (text.size() > asset::kFirstImplementationManifestBytes) {
    console.warning(fmt::format("the manifest has {}: sentinels of the first implementation read 1 MiB at most",
                                human_bytes(text.size())));
  }
  return manifest;
}

}  // namespace tb::cli

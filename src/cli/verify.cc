#include "cli/verify.h"

#include <fmt/format.h>

#include "asset/unpack.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/paths.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

tbenc::Header header_of(const tbenc::FileSource& source) {
  Bytes bytes(std::min<std::uint64_t>(source.size(), tbenc::kHeaderBytes));
  value_or_throw(source.read_at(0, bytes));
  return value_or_throw(tbenc::parse_header(bytes));
}

void prove_with_key(const VerifyOptions& options, const FileKey& key, const tbenc::FileSource& source,
                    const std::optional<LoadedManifest>& loaded, const Console& console, Verified& verified) {
  std::optional<oms::Statement> signed_by;
  std::optional<oms::ModelDigests> digests;
  if (options.oms.asked()) {
    signed_by = read_signed_statement(options.oms, oms_bundle_path_of(options.in));
    const std::optional<asset::Content>& content = loaded->manifest.content();
    digests.emplace(content ? &*content : nullptr, loaded->manifest.plaintext_bytes(), signed_by->shard_bytes);
  }
  Progress progress(console, "verify", source.size());
  tbenc::DecryptOptions decryption;
  decryption.known = known_from(loaded);
  decryption.jobs = options.jobs;
  decryption.cancel = &interrupt_flag();
  decryption.progress = [&progress](std::uint64_t done) { progress.update(done); };
  if (digests) decryption.on_plaintext = [&digests](ByteView plain) { digests->update(plain); };
  decryption.hash_ciphertext = loaded && loaded->proof.needs_ciphertext_sha256();
  tbenc::DecryptResult result;
  if (loaded && loaded->manifest.content()) {
    asset::StreamCheck check =
        value_or_throw(asset::StreamCheck::make(*loaded->manifest.content(), loaded->manifest.plaintext_bytes()));
    result = value_or_throw(tbenc::decrypt(key, source, check, decryption));
    value_or_throw(check.finish());
    verified.proofs.insert(verified.proofs.end(), {"tags", "content"});
  } else {
    result = value_or_throw(tbenc::verify(key, source, decryption));
    verified.proofs.emplace_back("tags");
  }
  if (decryption.hash_ciphertext) {
    if (to_hex(result.sha256_ciphertext.value()) != loaded->manifest.sha256_ciphertext()) {
      throw Error("ciphertext_digest_mismatch", options.in + " has another SHA-256 than its manifest says");
    }
    verified.proofs.emplace_back("sha256");
  }
  if (digests) {
    oms::require_same(*signed_by, digests->finish());
    verified.proofs.emplace_back("oms");
    verified.oms = proof_of(*signed_by);
  }
  verified.plaintext_bytes = result.plaintext_bytes;
  verified.end_authenticated = result.end_authenticated && loaded && loaded->proof.authenticated();
}

void prove_without_key(const VerifyOptions& options, const tbenc::FileSource& source, const LoadedManifest& loaded,
                       const Console& console, Verified& verified) {
  Progress progress(console, "verify", source.size());
  tbenc::ParallelOptions hashing;
  hashing.jobs = options.jobs;
  hashing.cancel = &interrupt_flag();
  hashing.progress = [&progress](std::uint64_t done) { progress.update(done); };
  const Digest digest = value_or_throw(tbenc::sha256_of(source, hashing));
  if (to_hex(digest) != loaded.manifest.sha256_ciphertext()) {
    throw Error("ciphertext_digest_mismatch", options.in + " has another SHA-256 than its manifest says");
  }
  verified.proofs.emplace_back("sha256");
  verified.plaintext_bytes = loaded.manifest.plaintext_bytes();
  verified.end_authenticated = loaded.proof.authenticated();
}

Verified verify_plaintext(const VerifyOptions& options, const Console& console) {
  if (!options.key_file.empty() || options.manifest.no_manifest || !options.manifest.manifest.empty() ||
      !options.manifest.asset_id.empty() || !options.manifest.provider_key.empty()) {
    throw Error("usage", "a model that lies open has no manifest and no file key: --oms-key or --oms-ca proves it");
  }
  const VerifiedModel model = verify_open_model(options.in, options.oms, console);
  Verified verified;
  verified.plaintext_bytes = model.plaintext_bytes;
  verified.proofs.emplace_back("oms");
  verified.end_authenticated = true;
  verified.oms = model.proof;
  return verified;
}

void check_oms(const VerifyOptions& options) {
  if (!options.oms.asked()) return;
  if (options.key_file.empty()) {
    throw Error("usage", "the model's signature is over its plaintext: --key-file is required")
        .with_hint("for a model that lies open, say --plaintext");
  }
  if (options.manifest.no_manifest)
    throw Error("usage", "--no-manifest contradicts --oms-key: files have no names then");
}

}  // namespace

Verified verify_asset(const VerifyOptions& options, const Console& console) {
  if (options.plaintext || is_directory(options.in)) return verify_plaintext(options, console);
  check_oms(options);
  std::optional<FileKey> key;
  if (!options.key_file.empty()) key = read_key_file(options.key_file);
  if (!key && options.manifest.no_manifest) {
    throw Error("usage", "without key and manifest there is nothing to verify against");
  }
  // What nothing proves is told by the command as a warning: this is the place to look at such a manifest.
  ManifestFlags flags = options.manifest;
  flags.allow_unauthenticated = true;
  const std::optional<LoadedManifest> loaded = load_manifest(flags, options.in, key ? &*key : nullptr);
  const tbenc::FileSource source = value_or_throw(tbenc::FileSource::open(options.in));
  const tbenc::Header header = header_of(source);
  Verified verified;
  verified.ciphertext_bytes = source.size();
  if (loaded) {
    value_or_throw(asset::check_file(loaded->manifest, header, source.size()));
    verified.asset_id = loaded->manifest.asset_id();
    if (loaded->proof.mac) verified.proofs.emplace_back("mac");
    if (loaded->proof.signature) verified.proofs.emplace_back("signature");
  }
  verified.chunks = value_or_throw(tbenc::Layout::from_ciphertext(source.size(), header.chunk_bytes)).chunk_count();
  if (key) {
    prove_with_key(options, *key, source, loaded, console, verified);
  } else {
    prove_without_key(options, source, *loaded, console, verified);
  }
  return verified;
}

}  // namespace tb::cli

#include "cli/decrypt.h"

#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "asset/unpack.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/paths.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

constexpr mode_t kPlaintextMode = 0600;

// One of the two: standard input is read in order, a file by all cores.
struct Input {
  std::unique_ptr<tbenc::FdSource> pull;
  std::unique_ptr<tbenc::FileSource> file;

  tbenc::DecryptResult decrypt(const FileKey& key, tbenc::Sink& sink, const tbenc::DecryptOptions& options) const {
    if (pull) return value_or_throw(tbenc::decrypt(key, *pull, sink, options));
    return value_or_throw(tbenc::decrypt(key, *file, sink, options));
  }
};

Input open_input(const std::string& path) {
  Input input;
  if (path == "-") {
    input.pull = std::make_unique<tbenc::FdSource>(STDIN_FILENO, "standard input");
  } else {
    input.file = std::make_unique<tbenc::FileSource>(value_or_throw(tbenc::FileSource::open(path)));
  }
  return input;
}

void require_digest(const Digest& actual, const LoadedManifest& loaded, const std::string& name) {
  if (to_hex(actual) != loaded.manifest.sha256_ciphertext()) {
    throw Error("ciphertext_digest_mismatch", fmt::format("{} has another SHA-256 than its manifest says", name));
  }
}

void check_usage(const DecryptOptions& options) {
  if (options.in == "-" && options.key_file == "-") {
    throw Error("usage", "ciphertext and key cannot both come from standard input");
  }
  if (options.out != "-") return;
  if (stdout_is_terminal()) {
    throw Error("usage", "refusing to write binary data to a terminal").with_hint("give --out FILE, or a pipe");
  }
}

// The name inside a directory that the user gave for a single file.
std::string file_target(const std::string& out, const std::optional<LoadedManifest>& loaded) {
  if (!is_directory(out)) return out;
  if (loaded && loaded->manifest.content() && !loaded->manifest.content()->name.empty()) {
    return out + "/" + loaded->manifest.content()->name;
  }
  throw Error("output_exists", fmt::format("{} is a directory and the manifest names no file", out));
}

}  // namespace

DecryptedAsset decrypt_asset(const DecryptOptions& options, const Console& console) {
  check_usage(options);
  const FileKey key = read_key_file(options.key_file);
  const std::optional<LoadedManifest> loaded = load_manifest(options.manifest, options.in, &key);
  const Input input = open_input(options.in);
  const bool to_stdout = options.out == "-";
  const std::string manifest_path = !options.manifest.manifest.empty() ? options.manifest.manifest
                                    : options.in == "-"                ? ""
                                                                       : manifest_path_of(options.in);
  if (!to_stdout) require_apart({options.in, options.key_file, manifest_path}, {options.out});

  tbenc::DecryptOptions decryption;
  decryption.known = known_from(loaded);
  decryption.jobs = options.jobs;
  decryption.cancel = &interrupt_flag();
  if (input.file && loaded) value_or_throw(loaded->manifest.layout().check_file_bytes(input.file->size()));
  const bool hash_first = loaded && loaded->proof.needs_ciphertext_sha256();
  if (hash_first && to_stdout) {
    if (!input.file) throw Error("usage", "a manifest without mac cannot release plaintext from a stream to a stream");
    Progress progress(console, "hash", input.file->size());
    tbenc::ParallelOptions hashing;
    hashing.jobs = decryption.jobs;
    hashing.cancel = decryption.cancel;
    hashing.progress = [&progress](std::uint64_t done) { progress.update(done); };
    require_digest(value_or_throw(tbenc::sha256_of(*input.file, hashing)), *loaded, options.in);
  }
  decryption.hash_ciphertext = hash_first && !to_stdout;

  Progress progress(console, "decrypt", decryption.known.plaintext_bytes.value_or(0));
  decryption.progress = [&progress](std::uint64_t done) { progress.update(done); };
  const auto finish = [&](const tbenc::DecryptResult& result) {
    if (decryption.hash_ciphertext) require_digest(result.sha256_ciphertext.value(), *loaded, options.in);
    throw_if_interrupted();
    return result;
  };

  DecryptedAsset done;
  tbenc::DecryptResult result;
  const bool is_tar = loaded && loaded->manifest.content() && loaded->manifest.content()->is_tar();
  if (to_stdout) {
    tbenc::FdSink sink(STDOUT_FILENO, "standard output");
    result = input.decrypt(key, sink, decryption);
    done.out = "-";
  } else if (is_tar && !options.raw) {
    done.out = options.out;
    asset::Unpacker unpacker = value_or_throw(asset::Unpacker::create(
        *loaded->manifest.content(), loaded->manifest.plaintext_bytes(), done.out, options.force));
    require_space(done.out, loaded->manifest.plaintext_bytes());
    result = finish(input.decrypt(key, unpacker, decryption));
    value_or_throw(unpacker.finish());
  } else {
    done.out = file_target(options.out, loaded);
    AtomicFile file = value_or_throw(AtomicFile::create(done.out, kPlaintextMode, options.force));
    if (loaded) require_space(done.out, loaded->manifest.plaintext_bytes());
    tbenc::FdSink sink(file.fd(), done.out);
    result = finish(input.decrypt(key, sink, decryption));
    value_or_throw(file.commit());
  }
  if (loaded) done.asset_id = loaded->manifest.asset_id();
  done.plaintext_bytes = result.plaintext_bytes;
  done.end_authenticated = result.end_authenticated && loaded && loaded->proof.authenticated();
  done.manifest_authenticated = loaded && loaded->proof.authenticated();
  return done;
}

}  // namespace tb::cli

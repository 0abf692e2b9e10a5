#include "cli/mount.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "asset/sealed_chunks.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "cli/paths.h"
#include "deliver/guard.h"
#include "deliver/mount.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

/// How often the end from outside is looked for; a signal cuts the wait short.
constexpr int kLookMs = 200;

/// Where the ciphertext lies. A URL would be opened here.
std::shared_ptr<const tbenc::RandomSource> open_source(const std::string& in) {
  if (in == "-") throw Error("usage", "a mount reads anywhere: standard input cannot be mounted");
  return std::make_shared<tbenc::FileSource>(value_or_throw(tbenc::FileSource::open(in)));
}

void require_digest(const tbenc::RandomSource& source, const asset::Manifest& manifest, const Console& console) {
  Progress progress(console, "hash", source.size());
  tbenc::ParallelOptions hashing;
  hashing.cancel = &interrupt_flag();
  hashing.progress = [&progress](std::uint64_t done) { progress.update(done); };
  if (to_hex(value_or_throw(tbenc::sha256_of(source, hashing))) != manifest.sha256_ciphertext()) {
    throw Error("ciphertext_digest_mismatch",
                fmt::format("{} has another SHA-256 than its manifest says", source.name()));
  }
}

}  // namespace

void mount_asset(const MountOptions& options, const Console& console,
                 const std::function<void(const MountedAsset&)>& mounted) {
  const FileKey key = read_key_file(options.key_file);
  const LoadedManifest loaded = load_manifest(options.manifest, options.in, &key).value();
  const auto source = open_source(options.in);
  auto chunks = value_or_throw(asset::SealedChunks::open(key, source, known_from(loaded)));
  if (loaded.proof.needs_ciphertext_sha256()) require_digest(*source, loaded.manifest, console);
  value_or_throw(deliver::forbid_core_dumps());

  deliver::MountOptions delivery;
  delivery.model_dir = std::filesystem::absolute(options.directory).lexically_normal();
  delivery.runtime_uid = geteuid();
  delivery.allow_swap = true;  // decrypt writes to disks as well: it is the provider's own machine
  delivery.bare = true;
  const auto mount = deliver::make_mount(delivery);
  value_or_throw(mount->begin(loaded.manifest, chunks->layout()));
  mount->serve(std::move(chunks));

  MountedAsset asset;
  asset.directory = options.directory;
  asset.asset_id = loaded.manifest.asset_id();
  asset.plaintext_bytes = loaded.manifest.plaintext_bytes();
  asset.manifest_authenticated = loaded.proof.authenticated();
  mounted(asset);

  bool said = false;
  while (!interrupt_flag() && !mount->ended()) {
    (void)poll(nullptr, 0, kLookMs);
    if (const auto fault = mount->last_fault(); fault && !said) {
      console.warning(fault->story());
      said = true;
    }
  }
  value_or_throw(mount->revoke());
  if (auto fault = mount->last_fault()) throw std::move(*fault);
}

}  // namespace tb::cli

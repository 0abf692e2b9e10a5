#include "cli/mount.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "cli/interrupt.h"
#include "cli/key_file.h"
#include "deliver/guard.h"
#include "deliver/mount.h"

namespace tb::cli {
namespace {

/// How often the end from outside is looked for; a signal cuts the wait short.
constexpr int kLookMs = 200;

}  // namespace

void mount_asset(const MountOptions& options, const Console& console,
                 const std::function<void(const MountedAsset&)>& mounted) {
  const FileKey key = read_key_file(options.key_file);
  SealedInput input = open_sealed_input(options.input, key, console);
  const LoadedManifest& loaded = input.manifest;
  value_or_throw(deliver::forbid_core_dumps());

  deliver::MountOptions delivery;
  delivery.model_dir = std::filesystem::absolute(options.directory).lexically_normal();
  delivery.runtime_uid = geteuid();
  delivery.allow_swap = true;  // decrypt writes to disks as well: it is the provider's own machine
  delivery.bare = true;
  const auto mount = deliver::make_mount(delivery);
  value_or_throw(mount->begin(loaded.manifest, input.chunks->layout()));
  mount->serve(std::move(input.chunks));

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

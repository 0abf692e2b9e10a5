// Making a container image of a program of ours and bringing it where it shall be: a registry, a layout, an archive. No
// daemon, no root, nothing executed (credential helpers apart).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/settings.h"

namespace tb::cli {

struct BuildOptions {
  std::string what;  ///< "sentinel", "control-plane", "runtime"; empty: runtime if there is a base image, else sentinel
  std::string registry;    ///< host[:port][/prefix]; empty: DOCKER_REGISTRY
  std::string image_name;  ///< empty: trustbridge-<what>
  std::string tag = "latest";
  std::string base_image;            ///< empty: scratch
  std::string sentinel_binary;       ///< empty: beside this program
  std::string control_plane_binary;  ///< empty: beside this program
  std::string layout, archive;       ///< where to write, or empty
  std::vector<std::string> labels;   ///< NAME=VALUE
  std::string auth_file;             ///< empty: REGISTRY_AUTH_FILE, then where podman and docker keep theirs
  std::string ca_path;
  bool no_push = false, insecure_registry = false, force = false;
};

struct Built {
  std::string image;  ///< the name it is known by
  std::string manifest_digest;
  std::string config_digest;
  std::vector<std::string> layer_digests;
  std::uint64_t bytes = 0;  ///< of all blobs
  std::string reference;    ///< of the registry, with the digest; empty if it was not pushed
  std::size_t sent_blobs = 0, present_blobs = 0;
};

/// Throws "usage", "image_reference_invalid", "image_malformed", "file_not_found", "output_exists", and what registries
/// throw.
Built build_image(const BuildOptions& options, const Console& console,
                  const Environment& environment = process_environment);

}  // namespace tb::cli

// Where this user's registry logins are: the file named by flag or REGISTRY_AUTH_FILE, else those of podman and docker.
#pragma once

#include <memory>
#include <string>

#include "cli/console.h"
#include "cli/settings.h"
#include "oci/registry.h"

namespace tb::cli {

/// The login for a registry, or none. Throws "config_invalid" (a file that is none), "file_not_found" (one that was
/// named), "registry_denied" (a helper that fails).
std::optional<oci::RegistryLogin> registry_login(const oci::Reference& place, const std::string& auth_file,
                                                 const Environment& environment, const Console& console);

}  // namespace tb::cli

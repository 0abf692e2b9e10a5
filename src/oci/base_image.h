// What an image is built upon: nothing, a layout, an archive, or an image of a registry. Its documents are read at
// once; its layers are fetched only where they are needed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "oci/blobs.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/registry.h"

namespace tb::oci {

struct BaseImage {
  std::vector<Descriptor> layers;
  ImageConfig config = ImageConfig::scratch();
  std::string name;                    ///< for the label org.opencontainers.image.base.name; empty for scratch
  std::string digest;                  ///< of its manifest; empty for scratch
  std::optional<Reference> reference;  ///< where it lies, if that is a registry
  std::function<void(const Descriptor& layer, const BlobFolder& into)> fetch;
};

/// Makes the client of a registry.
using OpenRegistry = std::function<std::shared_ptr<Registry>(const Reference& place)>;

/// `name`: "scratch", "oci:DIR[:TAG]", "oci-archive:FILE[:TAG]", or a reference. An index is followed to linux/amd64.
/// `scratch_space` is where an archive's blobs go. Throws "image_malformed", "image_not_found",
/// "image_reference_invalid", and what a registry throws.
BaseImage open_base(const std::string& name, const BlobFolder& scratch_space, const OpenRegistry& open_registry);

}  // namespace tb::oci

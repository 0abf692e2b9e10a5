// An image made of a plan and a base, and where it goes: a folder of blobs, then a registry.
#pragma once

#include <string>
#include <vector>

#include "oci/base_image.h"
#include "oci/image_plan.h"

namespace tb::oci {

struct Image {
  Descriptor manifest;  ///< with the platform
  std::string manifest_text;
  Descriptor config;
  std::vector<Descriptor> layers;  ///< the base's first
  std::size_t base_layers = 0;
};

/// Writes our layers, the config and the manifest into `folder`; the base's layers stay where they are.
Image make_image(const ImagePlan& plan, const BaseImage& base, const BlobFolder& folder);

/// Brings the base's layers into `folder`, too: for a layout or an archive.
void complete_image(const Image& image, const BaseImage& base, const BlobFolder& folder);

struct Pushed {
  std::size_t sent_blobs = 0, present_blobs = 0;
};
/// Blobs first, then the manifest under `place`'s tag, read back. Layers of a base in the same registry are taken over
/// there; others are fetched only if the registry lacks them.
Pushed push_image(const Image& image, const BaseImage& base, const BlobFolder& folder, const Reference& place,
                  Registry& registry);

}  // namespace tb::oci

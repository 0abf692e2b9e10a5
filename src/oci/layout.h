// An OCI layout on disk (OCI image spec 1.1, image-layout): oci-layout, index.json, blobs. Tools of others (skopeo,
// podman, buildah) read and write the same.
#pragma once

#include <string>
#include <vector>

#include "oci/blobs.h"

namespace tb::oci {

inline constexpr std::string_view kLayoutText = R"({"imageLayoutVersion":"1.0.0"})";

/// index.json of a layout. Throws "image_malformed" if the folder is none or of another version.
std::vector<Descriptor> read_layout(const std::string& folder);

/// Adds `image` to the layout's index under its ref_name, in place of what had that name; makes the layout where there
/// is none. The blobs must be there already: the index is written last, whole.
void add_to_layout(const BlobFolder& folder, const Descriptor& image);

}  // namespace tb::oci

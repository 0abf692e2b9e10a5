// What goes into each kind of image, and what it starts as. Pure: of what was found on this machine, a list of entries
// and a change of configuration.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "oci/image_config.h"
#include "oci/layer.h"
#include "oci/program.h"

namespace tb::oci {

enum class ImageKind { kSentinel, kControlPlane, kRuntime };

struct ImageWish {
  ImageKind kind = ImageKind::kSentinel;
  std::string version;
  std::int64_t created_s = 0;                 ///< SOURCE_DATE_EPOCH, or 0
  std::map<std::string, std::string> labels;  ///< beside and over our own
  std::string base_name, base_digest;         ///< empty for scratch
};

struct ImageParts {
  Program program;
  std::string sbom;          ///< SPDX text
  std::string certificates;  ///< file with the CAs that are trusted; empty: none go in
  std::string entrypoint;    ///< text of the runtime's start script
};

struct PlannedLayer {
  std::string story;  ///< one sentence for the history
  std::vector<LayerEntry> entries;
};

struct ImagePlan {
  std::vector<PlannedLayer> layers;
  ConfigChange change;  ///< without the layers' diff ids, which are not known yet
};

/// The user of our images, as distroless ones have it: no name of another system has it.
inline constexpr std::uint32_t kImageUser = 65532;

ImagePlan plan_image(const ImageWish& wish, const ImageParts& parts);

/// "usage" for a label's name or value that is refused. Pure.
Result<> check_label(std::string_view name, std::string_view value);

}  // namespace tb::oci

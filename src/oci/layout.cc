#include "oci/layout.h"

#include <unistd.h>

#include <algorithm>

#include "base/json.h"

namespace tb::oci {

std::vector<Descriptor> read_layout(const std::string& folder) {
  const std::string marker = value_or_throw(read_small_file(folder + "/oci-layout", 4096));
  const auto parsed = Json::parse(marker);
  const Json* version = parsed ? parsed->find("imageLayoutVersion") : nullptr;
  if (version == nullptr || !version->is_string() || version->as_string() != "1.0.0") {
    throw Error("image_malformed", folder + " is no OCI layout of version 1.0.0");
  }
  return value_or_throw(parse_index(value_or_throw(read_small_file(folder + "/index.json", kMaxDocumentBytes))));
}

void add_to_layout(const BlobFolder& folder, const Descriptor& image) {
  std::vector<Descriptor> images;
  if (::access((folder.folder() + "/oci-layout").c_str(), F_OK) == 0) {
    images = read_layout(folder.folder());
    std::erase_if(images, [&](const Descriptor& one) { return one.ref_name == image.ref_name; });
  } else {
    value_or_throw(write_file_atomically(folder.folder() + "/oci-layout", kLayoutText, 0644, true));
  }
  images.push_back(image);
  value_or_throw(write_file_atomically(folder.folder() + "/index.json", index_text(images), 0644, true));
}

}  // namespace tb::oci

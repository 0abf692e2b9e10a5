#include "oci/image.h"

namespace tb::oci {

Image make_image(const ImagePlan& plan, const BaseImage& base, const BlobFolder& folder) {
  Image out;
  out.layers = base.layers;
  out.base_layers = base.layers.size();
  ConfigChange change = plan.change;
  for (const PlannedLayer& planned : plan.layers) {
    Layer layer = write_layer(folder, planned.entries, change.created_s);
    out.layers.push_back(std::move(layer.blob));
    change.diff_ids.push_back(std::move(layer.diff_id));
  }
  if (out.layers.size() > kMaxEntries) throw Error("image_malformed", "the base image has too many layers");
  out.config = folder.put(kConfigType, base.config.with(change).to_text());
  const Manifest manifest{.config = out.config, .layers = out.layers, .annotations = {}};
  out.manifest_text = manifest.to_text();
  out.manifest = folder.put(kManifestType, out.manifest_text);
  out.manifest.os = "linux";
  out.manifest.architecture = "amd64";
  return out;
}

void complete_image(const Image& image, const BaseImage& base, const BlobFolder& folder) {
  for (std::size_t i = 0; i < image.base_layers; ++i) {
    if (!folder.has(image.layers[i])) base.fetch(image.layers[i], folder);
  }
}

Pushed push_image(const Image& image, const BaseImage& base, const BlobFolder& folder, const Reference& place,
                  Registry& registry) {
  Pushed out;
  const bool same_registry = base.reference && base.reference->registry == place.registry;
  std::vector<Descriptor> blobs = image.layers;
  blobs.push_back(image.config);
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    const Descriptor& blob = blobs[i];
    const bool of_base = i < image.base_layers;
    if (of_base && !folder.has(blob)) {
      if (registry.has_blob(blob) || (same_registry && registry.mount_blob(blob, base.reference->repository))) {
        ++out.present_blobs;
        continue;
      }
      base.fetch(blob, folder);
    }
    ++(registry.push_blob(blob, folder.path_of(blob.digest)) ? out.sent_blobs : out.present_blobs);
  }
  registry.push_manifest(place.tag, kManifestType, image.manifest_text);
  return out;
}

}  // namespace tb::oci

#include "oci/base_image.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "oci/archive.h"
#include "oci/layout.h"

namespace tb::oci {
namespace {

constexpr int kMaxIndexDepth = 3;
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;

struct PathAndTag {
  std::string path, tag;
};

// "DIR:TAG": the tag is what follows the last colon, if it can be one.
PathAndTag split_path(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !is_tag(text.substr(colon + 1))) return {std::string(text), {}};
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

/// Text of a document by its descriptor.
using ReadDocument = std::function<std::string(const Descriptor&)>;

void take_manifest(BaseImage& out, Descriptor found, const ReadDocument& read) {
  for (int depth = 0; is_index_type(found.media_type); ++depth) {
    if (depth == kMaxIndexDepth) throw Error("image_malformed", "an index leads to an index, again and again");
    found = value_or_throw(choose_manifest(value_or_throw(parse_index(read(found)))));
  }
  const Manifest manifest = value_or_throw(parse_manifest(read(found)));
  out.config = value_or_throw(ImageConfig::parse(read(manifest.config), manifest.layers.size()));
  out.layers = manifest.layers;
  out.digest = found.digest;
}

// Verified on the way: what a folder's file is called proves nothing.
void copy_blob(const BlobFolder& from, const Descriptor& blob, const BlobFolder& into) {
  if (into.has(blob)) return;
  const std::string path = from.path_of(blob.digest);
  const Fd fd = value_or_throw(open_file(path, O_RDONLY));
  IncomingBlob incoming(into);
  Bytes buffer(kPieceBytes);
  while (const std::size_t got = value_or_throw(read_full(fd.get(), buffer, path)))
    incoming.write(ByteView(buffer).first(got));
  incoming.keep_as(blob);
}

BaseImage of_layout(const std::string& text) {
  const PathAndTag place = split_path(text);
  BaseImage out;
  const Descriptor found = value_or_throw(choose_manifest(read_layout(place.path), place.tag));
  const auto folder = std::make_shared<const BlobFolder>(place.path);
  take_manifest(out, found, [&](const Descriptor& document) { return folder->read(document); });
  out.fetch = [folder](const Descriptor& layer, const BlobFolder& into) { copy_blob(*folder, layer, into); };
  return out;
}

BaseImage of_archive(const std::string& text, const BlobFolder& scratch_space) {
  const PathAndTag place = split_path(text);
  BaseImage out;
  const auto folder = std::make_shared<const BlobFolder>(scratch_space);
  const auto images = value_or_throw(parse_index(read_archive(place.path, *folder)));
  take_manifest(out, value_or_throw(choose_manifest(images, place.tag)),
                [&](const Descriptor& document) { return folder->read(document); });
  for (const Descriptor& layer : out.layers) {
    if (!folder->has(layer))
      throw Error("image_malformed", fmt::format("{} lacks the layer {}", place.path, layer.digest));
  }
  out.fetch = [folder](const Descriptor& layer, const BlobFolder& into) {
    if (folder->folder() != into.folder()) copy_blob(*folder, layer, into);
  };
  return out;
}

BaseImage of_registry(const std::string& name, const BlobFolder& scratch_space, const OpenRegistry& open_registry) {
  BaseImage out;
  const Reference place = value_or_throw(parse_reference(name));
  const auto registry = open_registry(place);
  Registry::FoundManifest first = registry->manifest(place.target());
  take_manifest(out, first.descriptor, [&](const Descriptor& document) {
    if (document.digest == first.descriptor.digest) return first.text;
    if (is_index_type(document.media_type) || is_manifest_type(document.media_type))
      return registry->manifest(document.digest).text;
    if (document.bytes > kMaxDocumentBytes) throw Error("image_malformed", "a document of the image is too large");
    registry->pull_blob(document, scratch_space);
    return scratch_space.read(document);
  });
  out.name = place.to_text();
  out.reference = place;
  out.fetch = [registry](const Descriptor& layer, const BlobFolder& into) { registry->pull_blob(layer, into); };
  return out;
}

}  // namespace

BaseImage open_base(const std::string& name, const BlobFolder& scratch_space, const OpenRegistry& open_registry) {
  constexpr std::string_view kLayout = "oci:", kArchive = "oci-archive:";
  if (name == "scratch") {
    BaseImage out;
    out.fetch = [](const Descriptor&, const BlobFolder&) {};
    return out;
  }
  if (name.starts_with(kLayout)) return of_layout(name.substr(kLayout.size()));
  if (name.starts_with(kArchive)) return of_archive(name.substr(kArchive.size()), scratch_space);
  return of_registry(name, scratch_space, open_registry);
}

}  // namespace tb::oci

// build: container images, pushed or written.
#include <fmt/format.h>

#include "cli/build.h"
#include "cli/command.h"

namespace tb::cli {
namespace {

void build(const BuildOptions& options, const Console& console) {
  const Built built = build_image(options, console);
  Json layers = Json::array();
  for (const std::string& digest : built.layer_digests) layers.push(digest);
  Json result = Json::object();
  result.set("image", built.image);
  result.set("digest", built.manifest_digest);
  result.set("config_digest", built.config_digest);
  result.set("layer_digests", std::move(layers));
  result.set("bytes", built.bytes);
  result.set("reference", built.reference.empty() ? Json() : Json(built.reference));
  result.set("sent_blobs", std::uint64_t{built.sent_blobs});
  result.set("present_blobs", std::uint64_t{built.present_blobs});
  console.result(result,
                 built.reference.empty() ? fmt::format("{}@{}", built.image, built.manifest_digest) : built.reference);
}

}  // namespace

void add_build(Command root, Context& context) {
  auto options = std::make_shared<BuildOptions>();
  BuildOptions& o = *options;
  const Command command =
      add_command(root, context, "build", "make a container image, without a daemon, and push or write it",
                  "trustbridge build --what sentinel --registry registry.example/team --tag 1.0");
  command.add_option("--what", o.what, "sentinel, control-plane or runtime [runtime with a base image, else sentinel]")
      .type_name("KIND");
  command.add_option("--registry", o.registry, "where to push: a host, and a path on it [DOCKER_REGISTRY]")
      .type_name("HOST");
  command.add_option("--image-name", o.image_name, "name of the image [trustbridge-KIND]").type_name("NAME");
  command.add_option("--tag", o.tag, "its tag").type_name("TAG").shows_default();
  command
      .add_option(
          "--base-image", o.base_image,
          "what it is built upon: scratch, oci:DIR[:TAG], oci-archive:FILE[:TAG], or an image of a registry [scratch]")
      .type_name("IMAGE");
  command.add_option("--sentinel-binary", o.sentinel_binary, "the sentinel [beside this program]").type_name("FILE");
  command.add_option("--control-plane-binary", o.control_plane_binary, "the control plane [beside this program]")
      .type_name("FILE");
  command.add_option("--oci-layout", o.layout, "write the image into this OCI layout; made if it is not there")
      .type_name("DIR");
  command.add_option("--archive", o.archive, "write the image into this file, as an OCI archive").type_name("FILE");
  command.add_option("--label", o.labels, "NAME=VALUE, again and again").type_name("LABEL");
  command.add_flag("--no-push", o.no_push, "do not push, also where DOCKER_REGISTRY is set");
  command.add_flag("-f,--force", o.force, "replace the archive");
  command.add_option("--auth-file", o.auth_file, "registry logins [REGISTRY_AUTH_FILE, then podman's, then docker's]")
      .type_name("FILE");
  command.add_option("--ca-path", o.ca_path, "PEM file of the certificate authorities to trust [TB_CA_PATH]")
      .type_name("FILE");
  command.add_flag("--insecure-registry", o.insecure_registry, "speak plain http to registries that are not loopback");
  command.callback([&context, options] { context.action = [&context, options] { build(*options, context.console); }; });
}

}  // namespace tb::cli

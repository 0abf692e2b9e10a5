#include "cli/build.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/crypto.h"
#include "base/fs.h"
#include "cli/interrupt.h"
#include "cli/paths.h"
#include "cli/registry_login.h"
#include "cli/work_folder.h"
#include "oci/archive.h"
#include "oci/entrypoint_script.h"
#include "oci/image.h"
#include "oci/layout.h"
#include "oci/sbom.h"

namespace tb::cli {
namespace {

using oci::ImageKind;

constexpr std::string_view kCertificates = "/etc/ssl/certs/ca-certificates.crt";
constexpr std::int64_t kSliceMs = 50;
// tpm2-tss opens what TB_TPM_TCTI names by name.
constexpr const char* kTpmDevice = "libtss2-tcti-device.so.0";

ImageKind kind_of(const BuildOptions& options) {
  if (options.what == "sentinel") return ImageKind::kSentinel;
  if (options.what == "control-plane") return ImageKind::kControlPlane;
  if (options.what == "runtime") return ImageKind::kRuntime;
  if (!options.what.empty()) throw Error("usage", "--what is none of sentinel, control-plane, runtime");
  return options.base_image.empty() ? ImageKind::kSentinel : ImageKind::kRuntime;
}

std::string_view name_of(ImageKind kind) {
  switch (kind) {
    case ImageKind::kSentinel:
      return "sentinel";
    case ImageKind::kControlPlane:
      return "control-plane";
    case ImageKind::kRuntime:
      return "runtime";
  }
  return {};
}

std::string beside_this_program(const std::string& name) {
  std::error_code fault;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", fault);
  if (fault) throw error_from_errno(fault.value(), "/proc/self/exe");
  return (self.parent_path() / name).string();
}

std::int64_t created_s(const Environment& environment) {
  const std::string text = environment("SOURCE_DATE_EPOCH").value_or("0");
  std::int64_t out = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), out);
  constexpr std::int64_t kMaxSeconds = 253'402'300'799;  // of the year 9999
  if (fault != std::errc() || end != text.data() + text.size() || out < 0 || out > kMaxSeconds) {
    throw Error("usage", "SOURCE_DATE_EPOCH is no number of seconds since 1970");
  }
  return out;
}

std::string sha256_of(std::string_view text) {
  return to_hex(sha256(text));
}

std::string sha256_of_file(const std::string& path) {
  const Fd fd = value_or_throw(open_file(path, O_RDONLY));
  Sha256 hash;
  Bytes buffer(std::size_t{256} << 10);
  while (const std::size_t got = value_or_throw(read_full(fd.get(), buffer, path)))
    hash.update(ByteView(buffer).first(got));
  return to_hex(hash.finish());
}

std::string sbom_of(const oci::Program& program, std::int64_t created) {
  std::vector<std::string> paths{program.loader};
  for (const auto& library : program.libraries) paths.push_back(library.path);
  const oci::DebianPackages packages(paths);
  std::vector<oci::SbomFile> files;
  files.push_back({.path = fmt::format("{}/bin/{}", oci::kPrefix, program.name),
                   .sha256 = sha256_of(program.content),
                   .package = {},
                   .ours = true});
  files.push_back({.path = std::string(oci::kLoaderPath.substr(1)),
                   .sha256 = sha256_of_file(program.loader),
                   .package = packages.of(program.loader)});
  for (const auto& library : program.libraries) {
    files.push_back({.path = fmt::format("{}/lib/trustbridge/{}", oci::kPrefix, library.name),
                     .sha256 = sha256_of_file(library.path),
                     .package = packages.of(library.path)});
  }
  return oci::spdx_document({.name = program.name, .version = TB_VERSION, .created_s = created}, files);
}

oci::ImageParts parts_of(ImageKind kind, const BuildOptions& options, std::int64_t created) {
  const bool control_plane = kind == ImageKind::kControlPlane;
  std::string binary = control_plane ? options.control_plane_binary : options.sentinel_binary;
  if (binary.empty())
    binary = beside_this_program(control_plane ? "trustbridge-control-plane" : "trustbridge-sentinel");
  oci::ImageParts out;
  out.program = oci::read_program(binary, {kTpmDevice});
  // Whatever the file is called here: inside, scripts and health checks know one name.
  out.program.name = control_plane ? "trustbridge-control-plane" : "trustbridge-sentinel";
  out.sbom = sbom_of(out.program, created);
  if (exists(std::string(kCertificates))) out.certificates = kCertificates;
  out.entrypoint = oci::kEntrypointScript;
  return out;
}

std::map<std::string, std::string> labels_of(const BuildOptions& options) {
  std::map<std::string, std::string> out;
  for (const std::string& label : options.labels) {
    const std::size_t equals = label.find('=');
    if (equals == std::string::npos) throw Error("usage", "--label is NAME=VALUE");
    value_or_throw(oci::check_label(label.substr(0, equals), label.substr(equals + 1)));
    out[label.substr(0, equals)] = label.substr(equals + 1);
  }
  return out;
}

// The name to push to. --registry holds a host, and a path on it where the registry has one.
oci::Reference place_of(ImageKind kind, const BuildOptions& options, const std::string& registry) {
  const std::string name =
      options.image_name.empty() ? fmt::format("trustbridge-{}", name_of(kind)) : options.image_name;
  if (!oci::is_tag(options.tag))
    throw Error("image_reference_invalid", "--tag has other characters than letters, digits, _ . and -, or too many");
  if (!oci::is_repository(name))
    throw Error("image_reference_invalid",
                "--image-name is not of lower-case letters and digits, with . _ - or / between them");
  if (registry.empty()) return {.registry = {}, .repository = name, .tag = options.tag, .digest = {}};
  oci::Reference out = value_or_throw(oci::parse_reference(fmt::format("{}/{}:{}", registry, name, options.tag)));
  if (out.registry == "docker.io" && !registry.starts_with("docker.io")) {
    throw Error("image_reference_invalid", "--registry names no host")
        .with_hint("as in registry.example:5000, localhost:5000 or docker.io/team");
  }
  return out;
}

void sleep_or_stop(std::int64_t ms) {
  for (; ms > 0; ms -= kSliceMs) {
    throw_if_interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(ms, kSliceMs)));
  }
  throw_if_interrupted();
}

}  // namespace

Built build_image(const BuildOptions& options, const Console& console, const Environment& environment) {
  const ImageKind kind = kind_of(options);
  const std::string registry_name =
      !options.registry.empty() ? options.registry : environment("DOCKER_REGISTRY").value_or("");
  const bool push = !options.no_push && !registry_name.empty();
  if (!push && options.layout.empty() && options.archive.empty()) {
    throw Error("usage", "the image would go nowhere")
        .with_hint("give --registry HOST, --oci-layout DIR or --archive FILE");
  }
  if (kind == ImageKind::kRuntime && (options.base_image.empty() || options.base_image == "scratch")) {
    throw Error("usage", "a runtime image needs a --base-image that has the model server");
  }
  const oci::Reference place = place_of(kind, options, registry_name);
  const auto labels = labels_of(options);
  const std::int64_t created = created_s(environment);
  if (!options.archive.empty() && !options.force) require_free(options.archive);

  const WorkFolder work(environment("TMPDIR").value_or("/tmp"));
  const oci::BlobFolder blobs(options.layout.empty() ? work.path() : options.layout);
  std::uint64_t moved = 0;
  Progress progress(console, "move", 0);
  const auto open_registry = [&](const oci::Reference& at) {
    oci::RegistryOptions how;
    how.ca_path = options.ca_path.empty() ? environment("TB_CA_PATH").value_or("") : options.ca_path;
    how.insecure = options.insecure_registry;
    how.user_agent = "trustbridge/" TB_VERSION;
    how.login = [&options, &environment, &console, at] {
      return registry_login(at, options.auth_file, environment, console);
    };
    how.sleep = sleep_or_stop;
    how.progress = [&](std::uint64_t bytes) {
      throw_if_interrupted();
      progress.update(moved += bytes);
    };
    return std::make_shared<oci::Registry>(at, std::move(how));
  };
  const std::string base_name = options.base_image.empty() ? "scratch" : options.base_image;
  const oci::BlobFolder archive_blobs(work.path() + "/base");
  const oci::BaseImage base = oci::open_base(base_name, archive_blobs, open_registry);
  const oci::ImageParts parts = parts_of(kind, options, created);
  const oci::ImagePlan plan = oci::plan_image({.kind = kind,
                                               .version = TB_VERSION,
                                               .created_s = created,
                                               .labels = labels,
                                               .base_name = base.name,
                                               .base_digest = base.digest},
                                              parts);
  throw_if_interrupted();
  oci::Image image = oci::make_image(plan, base, blobs);
  throw_if_interrupted();

  Built out;
  out.manifest_digest = image.manifest.digest;
  out.config_digest = image.config.digest;
  out.bytes = image.config.bytes;
  for (const auto& layer : image.layers) {
    out.layer_digests.push_back(layer.digest);
    out.bytes += layer.bytes;
  }
  // With the host where there is one: podman and others take it as the name to keep the image under.
  out.image = place.registry.empty() ? fmt::format("{}:{}", place.repository, place.tag) : place.to_text();
  image.manifest.ref_name = place.tag;
  if (!options.layout.empty() || !options.archive.empty()) oci::complete_image(image, base, blobs);
  if (!options.layout.empty()) oci::add_to_layout(blobs, image.manifest);
  if (!options.archive.empty()) {
    std::vector<oci::Descriptor> all = image.layers;
    all.push_back(image.config);
    all.push_back(image.manifest);
    oci::Descriptor named = image.manifest;
    named.ref_name = out.image;
    oci::write_archive(options.archive, blobs, all, oci::index_text({named}), options.force);
  }
  if (push) {
    const auto registry = open_registry(place);
    const oci::Pushed pushed = oci::push_image(image, base, blobs, place, *registry);
    out.sent_blobs = pushed.sent_blobs;
    out.present_blobs = pushed.present_blobs;
    oci::Reference pinned = place;
    pinned.digest = image.manifest.digest;
    out.reference = pinned.to_text();
  }
  return out;
}

}  // namespace tb::cli

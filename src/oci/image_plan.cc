#include "oci/image_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"

namespace tb::oci {
namespace {

using Kind = LayerEntry::Kind;

constexpr std::size_t kMaxLabelBytes = 4096;
constexpr std::string_view kCertificates = "etc/ssl/certs/ca-certificates.crt";

std::string in_prefix(std::string_view path) {
  return fmt::format("{}/{}", kPrefix, path);
}

LayerEntry text_file(std::string path, std::string content, std::uint32_t mode = 0644) {
  return {.path = std::move(path), .kind = Kind::kFile, .content = std::move(content), .source = {}, .mode = mode};
}
LayerEntry copied(std::string path, std::string source, std::uint32_t mode = 0644) {
  return {.path = std::move(path), .kind = Kind::kFile, .content = {}, .source = std::move(source), .mode = mode};
}
LayerEntry directory(std::string path, std::uint32_t mode, std::uint32_t owner = 0) {
  return {.path = std::move(path), .kind = Kind::kDirectory, .content = {}, .source = {}, .mode = mode, .owner = owner};
}

// Libraries change less often than the program: a layer of their own is shared between versions, and images.
PlannedLayer libraries_layer(const Program& program) {
  PlannedLayer out{.story = "libraries of " + program.name, .entries = {}};
  out.entries.push_back(copied(std::string(kLoaderPath.substr(1)), program.loader, 0755));
  for (const LibraryFile& library : program.libraries) {
    out.entries.push_back(copied(in_prefix("lib/trustbridge/" + library.name), library.path));
  }
  return out;
}

PlannedLayer program_layer(const ImageParts& parts) {
  const Program& program = parts.program;
  PlannedLayer out{.story = program.name, .entries = {}};
  out.entries.push_back(text_file(in_prefix("bin/" + program.name), program.content, 0755));
  out.entries.push_back(text_file(in_prefix("share/sbom/" + program.name + ".spdx.json"), parts.sbom));
  return out;
}

// What a system has and nothing has on scratch: users, name resolution, CAs, places to write to.
PlannedLayer system_layer(const ImageWish& wish, const ImageParts& parts) {
  PlannedLayer out{.story = "user, certificates, directories", .entries = {}};
  auto& entries = out.entries;
  entries.push_back(text_file(
      "etc/passwd",
      fmt::format("root:x:0:0:root:/:/nonexistent\ntrustbridge:x:{0}:{0}:trustbridge:/:/nonexistent\n", kImageUser)));
  entries.push_back(text_file("etc/group", fmt::format("root:x:0:\ntrustbridge:x:{}:\n", kImageUser)));
  entries.push_back(text_file("etc/nsswitch.conf", "hosts: files dns\n"));
  if (!parts.certificates.empty()) entries.push_back(copied(std::string(kCertificates), parts.certificates));
  entries.push_back(directory("tmp", 01777));
  entries.push_back(directory("run", 0755));
  if (wish.kind == ImageKind::kControlPlane) {
    entries.push_back(directory("var/lib/trustbridge", 0700, kImageUser));
  } else {
    entries.push_back(directory("var/lib/trustbridge-sentinel", 0700, kImageUser));
    entries.push_back(directory("mnt/resource/trustbridge", 0700, kImageUser));
  }
  return out;
}

std::string title_of(ImageKind kind) {
  switch (kind) {
    case ImageKind::kSentinel:
      return "trustbridge-sentinel";
    case ImageKind::kControlPlane:
      return "trustbridge-control-plane";
    case ImageKind::kRuntime:
      return "trustbridge-runtime";
  }
  return {};
}

std::string description_of(ImageKind kind) {
  switch (kind) {
    case ImageKind::kSentinel:
      return "holds the licence beside a model server, decrypts its weights into memory, lets requests through";
    case ImageKind::kControlPlane:
      return "assets, contracts, leases and keys of encrypted models";
    case ImageKind::kRuntime:
      return "a model server that starts when its weights have been delivered";
  }
  return {};
}

}  // namespace

Result<> check_label(std::string_view name, std::string_view value) {
  const bool fits = !name.empty() && name.size() <= kMaxLabelBytes && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_' || c == '/';
  });
  if (!fits) return fail("usage", "a label's name is of letters, digits, . - _ and /");
  if (value.size() > kMaxLabelBytes ||
      std::ranges::any_of(value, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return fail("usage", fmt::format("the label {} has a value with control characters, or too long a one", name));
  }
  return {};
}

ImagePlan plan_image(const ImageWish& wish, const ImageParts& parts) {
  ImagePlan out;
  ConfigChange& change = out.change;
  const std::string program = "/" + in_prefix("bin/" + parts.program.name);
  out.layers.push_back(libraries_layer(parts.program));
  out.layers.push_back(program_layer(parts));
  change.created_s = wish.created_s;
  if (wish.kind == ImageKind::kRuntime) {
    const std::string script = in_prefix("bin/entrypoint.sh");
    out.layers.push_back({.story = "entrypoint.sh", .entries = {text_file(script, parts.entrypoint, 0755)}});
    change.entrypoint = {"/" + script};
  } else {
    out.layers.push_back(system_layer(wish, parts));
    change.entrypoint = {program};
    change.user = fmt::format("{0}:{0}", kImageUser);
    change.working_dir = "/";
    change.health = HealthCheck{.command = {program, "healthcheck"}};
    change.exposed_ports = wish.kind == ImageKind::kSentinel ? std::vector<std::string>{"8000/tcp", "8001/tcp"}
                                                             : std::vector<std::string>{"8080/tcp"};
    change.environment["PATH"] = "/" + in_prefix("bin");
  }
  const std::string label = "org.opencontainers.image.";
  change.labels[label + "title"] = title_of(wish.kind);
  change.labels[label + "description"] = description_of(wish.kind);
  change.labels[label + "version"] = wish.version;
  change.labels[label + "created"] = to_rfc3339(wish.created_s * 1000);
  if (!wish.base_name.empty()) change.labels[label + "base.name"] = wish.base_name;
  if (!wish.base_digest.empty()) change.labels[label + "base.digest"] = wish.base_digest;
  for (const auto& [name, value] : wish.labels) change.labels[name] = value;
  for (const PlannedLayer& layer : out.layers) change.history.push_back("trustbridge build: " + layer.story);
  return out;
}

}  // namespace tb::oci

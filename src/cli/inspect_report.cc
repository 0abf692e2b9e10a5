// What inspect shows, as JSON and for people.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/console.h"
#include "cli/inspect.h"

namespace tb::cli {
namespace {

constexpr std::size_t kShownTensors = 20;
constexpr std::size_t kShownMetadata = 40;
constexpr std::size_t kShownFiles = 200;
constexpr std::size_t kShownValueBytes = 100;

Json shape_json(const std::vector<std::uint64_t>& shape) {
  Json list = Json::array();
  for (std::uint64_t side : shape) list.push(side);
  return list;
}

Json tensor_json(const std::string& name, const std::string& type, const std::vector<std::uint64_t>& shape) {
  Json tensor = Json::object();
  tensor.set("name", name);
  tensor.set("type", type);
  tensor.set("shape", shape_json(shape));
  return tensor;
}

Json model_json(const ModelFile& model) {
  Json out = Json::object();
  out.set("path", model.path);
  out.set("bytes", model.bytes);
  Json tensors = Json::array(), metadata = Json::object();
  if (model.safetensors) {
    out.set("format", "safetensors");
    out.set("parameters", model.safetensors->parameters());
    for (const auto& [name, value] : model.safetensors->metadata) metadata.set(name, value);
    for (const auto& tensor : model.safetensors->tensors)
      tensors.push(tensor_json(tensor.name, tensor.dtype, tensor.shape));
  } else {
    out.set("format", "gguf");
    out.set("version", model.gguf->version);
    for (const auto& [name, value] : model.gguf->metadata) metadata.set(name, value);
    for (const auto& tensor : model.gguf->tensors) tensors.push(tensor_json(tensor.name, tensor.type, tensor.shape));
  }
  out.set("metadata", std::move(metadata));
  out.set("tensors", std::move(tensors));
  return out;
}

std::string shortened(std::string text) {
  text = printable(text);
  if (text.size() <= kShownValueBytes) return text;
  std::size_t cut = kShownValueBytes;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) --cut;
  return text.substr(0, cut) + "…";
}

std::string value_text(const Json& value) {
  return shortened(value.is_string() ? value.as_string() : value.dump());
}

std::string tensor_text(const std::string& name, const std::string& type, const std::vector<std::uint64_t>& shape) {
  return fmt::format("    {}  {}  {}\n", printable(name), type, fmt::join(shape, " x "));
}

std::string rest_text(std::size_t all, std::size_t shown) {
  return all > shown ? fmt::format("    and {} more: --json shows them\n", all - shown) : "";
}

std::string model_text(const ModelFile& model) {
  std::string text = fmt::format("{}\n", model.path.empty() ? "plaintext" : printable(model.path));
  std::size_t shown = 0;
  if (model.safetensors) {
    text += fmt::format("  safetensors, {} tensors, {} parameters\n", model.safetensors->tensors.size(),
                        model.safetensors->parameters());
    for (const auto& [name, value] : model.safetensors->metadata) {
      if (shown++ == kShownMetadata) break;
      text += fmt::format("  {}: {}\n", printable(name), shortened(value));
    }
    shown = 0;
    for (const auto& tensor : model.safetensors->tensors) {
      if (shown++ == kShownTensors) break;
      text += tensor_text(tensor.name, tensor.dtype, tensor.shape);
    }
    return text + rest_text(model.safetensors->tensors.size(), kShownTensors);
  }
  text += fmt::format("  gguf version {}, {} tensors\n", model.gguf->version, model.gguf->tensors.size());
  for (const auto& [name, value] : model.gguf->metadata) {
    if (shown++ == kShownMetadata) break;
    text += fmt::format("  {}: {}\n", printable(name), value_text(value));
  }
  shown = 0;
  for (const auto& tensor : model.gguf->tensors) {
    if (shown++ == kShownTensors) break;
    text += tensor_text(tensor.name, tensor.type, tensor.shape);
  }
  return text + rest_text(model.gguf->tensors.size(), kShownTensors);
}

std::string proof_text(const asset::Authenticity& proof) {
  std::vector<std::string_view> held;
  if (proof.mac) held.emplace_back("mac");
  if (proof.signature) held.emplace_back("signature");
  return held.empty() ? "not authenticated" : fmt::format("authenticated by {}", fmt::join(held, " and "));
}

}  // namespace

Json to_json(const Inspection& inspection) {
  Json header = Json::object();
  header.set("format", asset::kFormat);
  header.set("chunk_bytes", inspection.header.chunk_bytes);
  header.set("nonce_prefix", to_hex(inspection.header.nonce_prefix));
  Json out = Json::object();
  out.set("header", std::move(header));
  out.set("ciphertext_bytes", inspection.ciphertext_bytes);
  out.set("plaintext_bytes", inspection.layout.plaintext_bytes());
  out.set("chunks", inspection.layout.chunk_count());
  if (inspection.loaded) {
    out.set("manifest", inspection.loaded->manifest.document());
    out.set("manifest_sha256", inspection.loaded->manifest.sha256());
    Json proof = Json::object();
    proof.set("mac", inspection.loaded->proof.mac);
    proof.set("signature", inspection.loaded->proof.signature);
    out.set("authenticated", std::move(proof));
  }
  if (!inspection.models.empty()) {
    Json models = Json::array();
    for (const ModelFile& model : inspection.models) models.push(model_json(model));
    out.set("models", std::move(models));
    out.set("plaintext_read", inspection.plaintext_read);
  }
  return out;
}

std::string to_text(const Inspection& inspection) {
  std::string text = fmt::format("tbenc/v1, {} in {} chunks of {}, ciphertext {}\n",
                                 human_bytes(inspection.layout.plaintext_bytes()), inspection.layout.chunk_count(),
                                 human_bytes(inspection.header.chunk_bytes), human_bytes(inspection.ciphertext_bytes));
  if (!inspection.loaded) {
    text += "no manifest: the size is what the file says of itself\n";
  } else {
    const asset::Manifest& manifest = inspection.loaded->manifest;
    text += fmt::format("asset {}, manifest {}\n", manifest.asset_id(), proof_text(inspection.loaded->proof));
    text += fmt::format("sha256 {}\n", manifest.sha256_ciphertext());
    if (manifest.version()) text += fmt::format("version {}\n", *manifest.version());
    text += fmt::format("fine-tuning {}\n", manifest.stated_allow_finetune() ? "allowed" : "not allowed");
    for (const asset::ManifestSignature& signature : manifest.signatures()) {
      text += fmt::format("signed by {}\n", signature.keyid);
    }
    if (manifest.content() && manifest.content()->is_tar()) {
      const auto& files = manifest.content()->files;
      text += fmt::format("{} files\n", files.size());
      for (std::size_t i = 0; i < std::min(files.size(), kShownFiles); ++i) {
        text += fmt::format("    {:>12}  {}\n", human_bytes(files[i].bytes), files[i].path);
      }
      text += rest_text(files.size(), kShownFiles);
    } else if (manifest.content()) {
      text += fmt::format("one file {}\n", manifest.content()->name);
    }
  }
  for (const ModelFile& model : inspection.models) text += model_text(model);
  return text;
}

}  // namespace tb::cli

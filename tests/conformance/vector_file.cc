#include "vector_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "tbenc/parallel.h"
#include "tbenc/stream.h"

namespace tb::conformance {
namespace {

constexpr std::string_view kFirstLine = "trustbridge vector v1\n";

[[noreturn]] void out_of_form(const std::string& name, const std::string& what) {
  throw std::runtime_error(name + ": " + what);
}

Bytes decode_file(const Vector& vector, std::string_view text) {
  std::string digits;
  std::ranges::copy_if(text, std::back_inserter(digits), [](char c) { return c != '\n'; });
  auto bytes = from_base64(digits);
  if (!bytes || bytes->size() != vector.number("file-bytes")) out_of_form(vector.name, "file");
  return std::move(*bytes);
}

/// A known answer without its file: seal the plaintext here, in order and on all cores.
Bytes seal_file(const Vector& vector) {
  const std::string pattern = vector.get("seal-pattern");
  Bytes plain(*vector.number("plaintext-bytes"));
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::uint8_t>(pattern[i % pattern.size()]);
  tbenc::Header header{.chunk_bytes = static_cast<std::uint32_t>(*vector.number("seal-chunk-bytes"))};
  std::ranges::copy(value_or_throw(from_hex(vector.get("seal-nonce-prefix"))), header.nonce_prefix.begin());

  Bytes in_order, on_all_cores;
  tbenc::MemorySink order_sink(in_order), cores_sink(on_all_cores);
  auto writer = value_or_throw(tbenc::StreamWriter::create(vector.key(), header, order_sink));
  value_or_throw(writer.write(plain));
  value_or_throw(writer.finish());
  const auto result = value_or_throw(tbenc::encrypt(vector.key(), header, tbenc::MemorySource(plain), cores_sink));
  const std::string expected = vector.get("sha256-ciphertext");
  if (to_hex(writer.sha256_ciphertext()) != expected || to_hex(result.sha256_ciphertext) != expected ||
      to_hex(sha256(in_order)) != expected || in_order != on_all_cores) {
    out_of_form(vector.name, "sealed otherwise than the known answer");
  }
  return in_order;
}

Vector load(const std::filesystem::path& path) {
  Vector vector{.name = path.stem()};
  std::ifstream in(path, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  std::string_view text = whole;
  if (!text.starts_with(kFirstLine)) out_of_form(vector.name, "first line");
  text.remove_prefix(kFirstLine.size());
  while (!text.starts_with('\n')) {
    const std::size_t end = text.find('\n'), colon = text.find(": ");
    if (end == std::string_view::npos || colon > end) out_of_form(vector.name, "fields");
    vector.fields.emplace(text.substr(0, colon), text.substr(colon + 2, end - colon - 2));
    text.remove_prefix(end + 1);
  }
  text.remove_prefix(1);
  if (const auto bytes = vector.number("manifest-bytes")) {
    if (text.size() <= *bytes || text[*bytes] != '\n') out_of_form(vector.name, "manifest");
    vector.manifest = text.substr(0, *bytes);
    text.remove_prefix(*bytes + 1);
  } else if (const std::string repeat = vector.get("manifest-repeat"); !repeat.empty()) {
    vector.manifest = std::string(std::stoul(repeat), repeat.back());
  }
  vector.file = vector.number("file-bytes") ? decode_file(vector, text) : seal_file(vector);
  return vector;
}

}  // namespace

std::string Vector::get(const std::string& field) const {
  const auto found = fields.find(field);
  return found == fields.end() ? "" : found->second;
}

std::optional<std::uint64_t> Vector::number(const std::string& field) const {
  const std::string text = get(field);
  if (text.empty()) return std::nullopt;
  return std::stoull(text);
}

FileKey Vector::key() const {
  const Bytes bytes = value_or_throw(from_hex(get("key")));
  if (bytes.size() != 32) out_of_form(name, "key");
  return FileKey(std::span<const std::uint8_t, 32>(bytes.data(), 32));
}

bool Vector::allows(const std::string& field, std::string_view code) const {
  const std::string all = "|" + get(field) + "|";
  return all.find("|" + std::string(code) + "|") != std::string::npos;
}

std::vector<Vector> load_vectors(const std::string& folder) {
  std::vector<Vector> vectors;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".vec") vectors.push_back(load(entry.path()));
  }
  std::ranges::sort(vectors, {}, &Vector::name);
  return vectors;
}

}  // namespace tb::conformance

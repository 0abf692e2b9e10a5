// The metadata of a GGUF file (versions 2 and 3, little-endian): key-value pairs and tensor list, read without the
// tensors. Strict and bounded, as the bytes may be anybody's. Long arrays are stepped over and kept as their length.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tbenc/source.h"

namespace tb::asset {

struct GgufTensor {
  std::string name;
  std::string type;  ///< "F32", "Q4_K", …; "type 99" for one that is not known
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  ///< in the tensor data
};

struct GgufHeader {
  std::uint32_t version = 0;
  std::vector<std::pair<std::string, Json>> metadata;  ///< arrays over 8 elements become "[n elements]"
  std::vector<GgufTensor> tensors;
  const Json* find(std::string_view key) const;
};

/// Reads `bytes` of `source` from `offset`: one GGUF file. "gguf_malformed"; errors of the source.
Result<GgufHeader> read_gguf(const tbenc::RandomSource& source, std::uint64_t offset, std::uint64_t bytes);

}  // namespace tb::asset

// The header of a safetensors file: names, types and shapes of its tensors, read without the tensors.
//
// Strict and bounded, as the bytes may be anybody's: u64 (little-endian) header length, a JSON object, then tensor data
// that the header must cover without holes or overlaps.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tbenc/source.h"

namespace tb::asset {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< in the data that follows the header
};

struct SafetensorsHeader {
  std::vector<SafetensorsTensor> tensors;                     ///< by place in the file
  std::vector<std::pair<std::string, std::string>> metadata;  ///< `__metadata__`
  std::uint64_t parameters() const;                           ///< elements of all tensors
};

/// Reads `bytes` of `source` from `offset`: one safetensors file. "safetensors_malformed"; errors of the source.
Result<SafetensorsHeader> read_safetensors(const tbenc::RandomSource& source, std::uint64_t offset,
                                           std::uint64_t bytes);

}  // namespace tb::asset

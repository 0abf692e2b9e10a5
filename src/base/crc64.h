// CRC-64/NVME, which Azure calls crc64: a checksum against accidents on the way, no proof against anybody.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace tb {

/// Streaming; "123456789" gives 0xae8b14860a799888.
class Crc64 {
 public:
  void update(ByteView bytes);
  std::uint64_t value() const { return ~state_; }
  /// Least significant byte first, as Azure's header wants it before base64.
  std::array<std::uint8_t, 8> bytes() const;

 private:
  std::uint64_t state_ = ~std::uint64_t{0};
};

}  // namespace tb

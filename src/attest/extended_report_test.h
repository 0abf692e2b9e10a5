// An SEV-SNP guest's device as tests play it: its answer around a report, and the host's table of certificates.
#pragma once

#include <vector>

#include "base/bytes.h"

namespace tb::attest {

inline void put_u32(Bytes& out, std::size_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

/// The device's 4000 bytes.
inline Bytes response_of(const Bytes& report, std::uint32_t status = 0) {
  Bytes out;
  put_u32(out, status);
  put_u32(out, report.size());
  out.resize(32);
  out.insert(out.end(), report.begin(), report.end());
  out.resize(4000);
  return out;
}

/// Entries, an entry of zeros, the certificates, zeros.
inline Bytes table_of(const std::vector<Bytes>& certificates) {
  Bytes head, body;
  for (const Bytes& certificate : certificates) {
    head.insert(head.end(), 16, 0xAB);
    put_u32(head, 24 * (certificates.size() + 1) + body.size());
    put_u32(head, certificate.size());
    body.insert(body.end(), certificate.begin(), certificate.end());
  }
  head.resize(head.size() + 24);
  head.insert(head.end(), body.begin(), body.end());
  head.resize(16384);
  return head;
}

}  // namespace tb::attest

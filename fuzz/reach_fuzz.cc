// The kernel's tables of listening sockets: no line of another shape becomes an address.
#include <arpa/inet.h>

#include "fuzz.h"
#include "sentinel/runtime/reach.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string table(reinterpret_cast<const char*>(data), bytes);
  for (const std::string& address : tb::sentinel::runtime::listening_addresses(table, table, 8081)) {
    in_addr v4{};
    in6_addr v6{};
    FUZZ_CHECK(inet_pton(AF_INET, address.c_str(), &v4) == 1 || inet_pton(AF_INET6, address.c_str(), &v6) == 1);
  }
  return 0;
}

// The id of this machine (wire 1.1): a digest of what the hardware or the installation says of itself, never of the
// host name. Whoever is root can change it: it tells honest machines apart, no more.
#pragma once

#include <string>

namespace tb::sentinel {

struct HwIdSources {
  std::string override_file;  ///< TB_HW_ID_FILE; set: its text is used and nothing else
  std::string product_uuid = "/sys/class/dmi/id/product_uuid";
  std::string machine_id = "/etc/machine-id";
};

/// Lower-hex SHA-256 of "trustbridge hw v1\n" and the first source that has something to say, without blanks around it,
/// in lower case. Throws "config_invalid" if none has.
std::string hw_id(const HwIdSources& sources);

}  // namespace tb::sentinel

// How a runtime that runs is reached: its address, who opens connections to it, and the key that it wants.
#pragma once

#include <memory>

#include "base/secret.h"
#include "sentinel/config.h"
#include "sentinel/runtime/connector.h"

namespace tb::sentinel::runtime {

struct Channel {
  RuntimeAddress address;
  std::shared_ptr<Connector> connector = nullptr;     ///< null: it is reached from here
  std::shared_ptr<const SecretString> key = nullptr;  ///< of this start; null: it has none
};

}  // namespace tb::sentinel::runtime

// The flags of the commands that send an asset to a store.
#pragma once

#include "cli/asset_store.h"
#include "cli/command_line.h"

namespace tb::cli {

/// All of StoreFlags but `replace`, in the group "Store" of --help.
void add_store_flags(Command command, StoreFlags& flags);

}  // namespace tb::cli

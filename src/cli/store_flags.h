// The flags of the commands that send an asset to a store.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/asset_store.h"

namespace tb::cli {

/// All of StoreFlags but `replace`, in the group "Store" of --help.
void add_store_flags(CLI::App& command, StoreFlags& flags);

}  // namespace tb::cli

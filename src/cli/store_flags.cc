#include "cli/store_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "azure/store_access.h"

namespace tb::cli {

void add_store_flags(Command command, StoreFlags& flags) {
  const auto option = [&](const char* name, auto& value, const std::string& text, const char* type) {
    return command.add_option(name, value, text).type_name(type).group("Store");
  };
  option("--store", flags.store,
         "azure: [this], https:URL that takes PUT, cp: for the control plane's own store, or file:DIR", "STORE");
  option("--storage-account", flags.storage_account, "Azure's storage account; env AZURE_STORAGE_ACCOUNT", "NAME");
  option("--container", flags.container, "its container [models]; env AZURE_STORAGE_CONTAINER", "NAME");
  option("--prefix", flags.prefix, "what stands before the asset's id in the container", "PATH");
  option("--endpoint", flags.endpoint, "of another cloud or an emulator, with {account} in it", "URL");
  option("--auth", flags.auth, fmt::format("auto [this], or one of {}", fmt::join(azure::kAuthNames, ", ")), "HOW");
  option("--account-key-file", flags.account_key_file, "account key in base64, 0600; env AZURE_STORAGE_KEY", "FILE");
  option("--sas-file", flags.sas_file, "shared access signature (sp=rcw), 0600; env AZURE_STORAGE_SAS_TOKEN", "FILE");
  option("--block-mib", flags.block_mib, "size of blocks, 8 to 64 [8, larger only for files over 390 GiB]", "N")
      .between(8, 64);
  option("--parallel", flags.parallel, "blocks sent at once, 1 to 64", "N").between(1, 64).shows_default();
  command.add_flag("--create-container", flags.create_container, "make the container if it is not there")
      .group("Store");
  option("--authorization-file", flags.authorization_file,
         "for https:URL: file, 0600, whose line is the value of Authorization", "FILE");
  option("--max-bytes-per-second", flags.max_bytes_per_second, "send no faster than this, at least 65536", "N")
      .between(65536, std::uint64_t{1} << 40);
}

}  // namespace tb::cli

#include "sentinel/keys_command.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/clock.h"
#include "base/fs.h"
#include "base/result.h"
#include "sentinel/api_keys.h"

namespace tb::sentinel {
namespace {

int usage() {
  fmt::print(stderr,
             "usage: trustbridge-sentinel keys add NAME [--status] [--no-infer]\n"
             "       trustbridge-sentinel keys list\n"
             "       trustbridge-sentinel keys revoke ID\n"
             "the key file is $TB_API_KEYS_FILE, by default $TB_STATE_DIR/api-keys\n");
  return 2;
}

}  // namespace

int keys_command(const std::vector<std::string>& arguments, const std::string& keys_file) {
  if (arguments.empty()) return usage();
  if (arguments[0] == "list" && arguments.size() == 1) {
    for (const ApiKey& key : read_api_keys(keys_file)) {
      fmt::print("{}\t{}\t{}{}\t{}\n", key.id, key.name, key.may_infer ? "infer " : "",
                 key.may_see_status ? "status" : "", to_rfc3339(key.created));
    }
    return 0;
  }
  if (arguments.size() < 2) return usage();
  if (arguments[0] == "revoke" && arguments.size() == 2) {
    revoke_api_key(keys_file, arguments[1]);
    return 0;
  }
  if (arguments[0] != "add") return usage();
  bool may_infer = true;
  bool may_see_status = false;
  for (std::size_t i = 2; i < arguments.size(); ++i) {
    if (arguments[i] == "--status") {
      may_see_status = true;
    } else if (arguments[i] == "--no-infer") {
      may_infer = false;
    } else {
      return usage();
    }
  }
  value_or_throw(make_directories(keys_file.substr(0, keys_file.rfind('/')), 0700));
  const NewApiKey added = add_api_key(keys_file, arguments[1], may_infer, may_see_status, unix_ms_now());
  fmt::print("{}\n", added.key.reveal());
  fmt::print(stderr, "added {}; the key is shown this once\n", added.entry.id);
  return 0;
}

}  // namespace tb::sentinel

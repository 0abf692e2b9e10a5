// What the operator typed: settings, and which command is wanted.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "controlplane/admin.h"

namespace tb::controlplane {

enum class Command {
  kServe,
  kPrintConfig,
  kPrintConfigDoc,
  kTokenCreate,
  kTokenList,
  kTokenRevoke,
  kIdentity,
  kEventsVerify,
  kBackup,
  kRestore,
  kRekey,
  kWrappingKeysList,
  kWrappingKeyRotate,
  kWrappingKeyRetire,
  kDoctor,
  kHealthcheck
};

struct CommandLine {
  Command command = Command::kServe;
  std::map<std::string, std::string> flags;  ///< settings by name
  std::string config_path;
  TokenWish wish;
  std::string token_id;
  std::string backup_path;
  bool force = false;
  std::string rekey_to;
  std::string kid;
  bool json = false;
  std::string checkpoint_path;
};

/// Help, version and faults are answered on the console here: then there is nothing to do but to exit with the status.
struct CommandLineOutcome {
  std::optional<CommandLine> line;
  int exit_status = 0;
};
CommandLineOutcome parse_command_line(int argc, char** argv, const std::string& version);

}  // namespace tb::controlplane

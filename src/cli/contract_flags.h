// One flag for each field of a contract's terms (docs/spec/wire.md 1.3): what create, update and simulate share.
#pragma once

#include "cli/command.h"
#include "cli/contract.h"

namespace tb::cli {

struct TermFlags {
  ContractFields fields;
  bool finetune = false, no_finetune = false;
};

void add_term_flags(Command command, TermFlags& flags);

/// The fields that were given. Throws as fields_json.
Json terms_json(const TermFlags& flags, UnixMs now);

/// `contract simulate`, in its own file: it adds itself to the group.
void add_contract_simulate(Command contract, Context& context);

}  // namespace tb::cli

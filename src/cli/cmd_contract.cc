// contract: create, show, list, update, suspend, resume, revoke, leases, audit-logs, evict, hardware, machines, token.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/contract.h"
#include "cli/contract_flags.h"

namespace tb::cli {
namespace {

struct Flags {
  TermFlags terms;
  SettingFlags settings;
  std::string id, lease, token_file, expires_in, approve, forget;
  bool reset = false;
};

struct Scene {
  Command contract;
  Context& context;
};

using Action = std::function<void(Flags&, ControlPlane&, const Console&)>;

Command add_action(const Scene& scene, const std::shared_ptr<Flags>& flags, const char* name, const char* description,
                   const std::string& example, const Action& action) {
  const Command command =
      add_command(scene.contract, scene.context, name, description, "trustbridge contract " + example);
  add_control_plane_flags(command, flags->settings);
  add_tenant_flag(command, flags->settings);
  Context& context = scene.context;
  command.callback([&context, flags, action] {
    context.action = [&context, flags, action] {
      ControlPlane control_plane(settle(flags->settings), context.console);
      action(*flags, control_plane, context.console);
    };
  });
  return command;
}

void add_id(Command command, Flags& flags) {
  command.add_option("contract", flags.id, "the contract's id").required().type_name("CONTRACT");
}

void add_pin(Command command, Flags& flags) {
  command
      .add_option("--control-plane-key", flags.settings.control_plane_key,
                  "file with the control plane's identity key, which is pinned [TB_CONTROL_PLANE_KEY, profile]")
      .type_name("FILE")
      .group("Control plane");
}

void add_making(const Scene& scene) {
  auto flags = std::make_shared<Flags>();
  const Command create = add_action(
      scene, flags, "create", "make a contract and keep its activation token",
      "create --consumer acme --asset-id my-model-v1 --not-after 30d --activation-token-file acme.token",
      [](Flags& f, ControlPlane& control_plane, const Console& console) {
        Json body = terms_json(f.terms, unix_ms_now());
        if (!f.id.empty()) body.set("contract_id", f.id);
        const Json contract = create_contract(control_plane, body, f.token_file, settle(f.settings).control_plane_key);
        console.result(contract, contract_text(contract));
      });
  add_pin(create, *flags);
  create.add_option("--contract-id", flags->id, "its id [made by the control plane]").type_name("CONTRACT");
  create
      .add_option("--activation-token-file", flags->token_file,
                  "where the activation token goes, 0600; it is told once")
      .type_name("FILE");
  add_term_flags(create, flags->terms);

  auto update_flags = std::make_shared<Flags>();
  const Command update = add_action(
      scene, update_flags, "update", "change the terms of a contract", "update acme-1 --not-after 90d --max-seats 4",
      [](Flags& f, ControlPlane& control_plane, const Console& console) {
        const Json body = terms_json(f.terms, unix_ms_now());
        if (body.as_object().empty()) throw usage_error("nothing to change was given");
        const Json contract = control_plane.send("PATCH", contract_path(f.id), body, Repeat::kHarmless).body;
        console.result(contract, contract_text(contract));
      });
  add_id(update, *update_flags);
  add_term_flags(update, update_flags->terms);

  auto token_flags = std::make_shared<Flags>();
  const Command token = add_action(
      scene, token_flags, "token", "replace a contract's activation token",
      "token acme-1 --activation-token-file acme-new.token",
      [](Flags& f, ControlPlane& control_plane, const Console& console) {
        const std::string pinned = settle(f.settings).control_plane_key;
        console.result(renew_activation_token(control_plane, f.id, f.token_file, f.expires_in, pinned), f.token_file);
      });
  add_id(token, *token_flags);
  add_pin(token, *token_flags);
  token.add_option("--activation-token-file", token_flags->token_file, "where the new token goes, 0600")
      .required()
      .type_name("FILE");
  token
      .add_option("--expires-in", token_flags->expires_in, "how long the new token enrols sentinels, as 90d [for ever]")
      .type_name("DURATION");
}

void add_looking(const Scene& scene) {
  auto show = std::make_shared<Flags>();
  add_id(add_action(scene, show, "show", "show a contract", "show acme-1",
                    [](Flags& f, ControlPlane& control_plane, const Console& console) {
                      const Json contract = control_plane.get(contract_path(f.id)).body;
                      console.result(contract, contract_text(contract));
                    }),
         *show);
  add_action(scene, std::make_shared<Flags>(), "list", "list your contracts", "list --json",
             [](Flags&, ControlPlane& control_plane, const Console& console) {
               const Json::Array contracts = control_plane.list("/api/v1/contracts");
               Json result = Json::object();
               result.set("items", contracts);
               console.result(result, contract_lines(contracts));
             });
  auto leases = std::make_shared<Flags>();
  add_id(add_action(scene, leases, "leases", "show who runs a contract, where and since when", "leases acme-1",
                    [](Flags& f, ControlPlane& control_plane, const Console& console) {
                      const Json::Array items = control_plane.list(contract_path(f.id, "/leases"));
                      Json result = Json::object();
                      result.set("items", items);
                      console.result(result, lease_lines(items));
                    }),
         *leases);
  auto logs = std::make_shared<Flags>();
  add_id(add_action(scene, logs, "audit-logs", "show the newest checkpoint of each sentinel's audit log",
                    "audit-logs acme-1",
                    [](Flags& f, ControlPlane& control_plane, const Console& console) {
                      const Json::Array items = control_plane.list(contract_path(f.id, "/audit-logs"));
                      Json result = Json::object();
                      result.set("items", items);
                      console.result(result, audit_log_lines(items));
                    }),
         *logs);
}

void add_state_change(const Scene& scene, const char* name, const char* description) {
  auto flags = std::make_shared<Flags>();
  const std::string verb = name;
  add_id(add_action(
             scene, flags, name, description, verb + " acme-1",
             [verb](Flags& f, ControlPlane& control_plane, const Console& console) {
               const Json contract =
                   control_plane.send("POST", contract_path(f.id, "/" + verb), Json::object(), Repeat::kHarmless).body;
               console.result(contract, contract_text(contract));
             }),
         *flags);
}

void add_evict(const Scene& scene) {
  auto flags = std::make_shared<Flags>();
  const Command evict = add_action(scene, flags, "evict", "end one lease for good", "evict acme-1 LEASE",
                                   [](Flags& f, ControlPlane& control_plane, const Console& console) {
                                     const std::string path = contract_path(f.id, "/leases/" + path_part(f.lease));
                                     const Answer answer =
                                         control_plane.send("DELETE", path, nullptr, Repeat::kHarmless);
                                     Json result = Json::object();
                                     result.set("contract_id", f.id);
                                     result.set("lease_id", f.lease);
                                     result.set("state", "evicted");
                                     console.result(answer.body.is_object() ? answer.body : result, f.lease);
                                   });
  add_id(evict, *flags);
  evict.add_option("lease", flags->lease, "the lease's id").required().type_name("LEASE");
}

void add_hardware(const Scene& scene) {
  auto flags = std::make_shared<Flags>();
  const Command hardware =
      add_action(scene, flags, "hardware", "approve the machine of a pin_first contract, or forget it",
                 "hardware acme-1 --approve HWID", [](Flags& f, ControlPlane& control_plane, const Console& console) {
                   if (f.approve.empty() != f.reset) throw usage_error("one of --approve and --reset is required");
                   Json body = Json::object();
                   if (f.reset) {
                     body.set("reset", true);
                   } else {
                     body.set("approve", f.approve);
                   }
                   const std::string path = contract_path(f.id, "/hardware");
                   console.result(control_plane.send("POST", path, body, Repeat::kHarmless).body, f.id);
                 });
  add_id(hardware, *flags);
  hardware.add_option("--approve", flags->approve, "the hardware id that may run it from now on").type_name("HWID");
  hardware.add_flag("--reset", flags->reset, "forget the machine: the next one is pinned, and pending again");
}

void add_machines(const Scene& scene) {
  auto flags = std::make_shared<Flags>();
  const Command machines =
      add_action(scene, flags, "machines", "show, approve or forget machines with a TPM",
                 "machines acme-1 --approve EKHASH", [](Flags& f, ControlPlane& control_plane, const Console& console) {
                   const std::string path = contract_path(f.id, "/machines");
                   if (!f.approve.empty() && !f.forget.empty())
                     throw usage_error("--approve and --forget exclude each other");
                   if (f.approve.empty() && f.forget.empty()) {
                     const Json::Array items = control_plane.list(path);
                     Json result = Json::object();
                     result.set("items", items);
                     console.result(result, machine_lines(items));
                     return;
                   }
                   Json body = Json::object();
                   body.set(f.approve.empty() ? "reset" : "approve", f.approve.empty() ? f.forget : f.approve);
                   console.result(control_plane.send("POST", path, body, Repeat::kHarmless).body, f.id);
                 });
  add_id(machines, *flags);
  machines.add_option("--approve", flags->approve, "SHA-256 of the endorsement key that may run it from now on")
      .type_name("EKHASH");
  machines.add_option("--forget", flags->forget, "forget approval and keys of this machine: it enrols anew")
      .type_name("EKHASH");
}

}  // namespace

void add_contract(Command root, Context& context) {
  const Command contract = root.add_subcommand("contract", "say who may run an asset, and until when");
  contract.group("Commands");
  contract.require_subcommand();
  contract.footer("Example:\n  trustbridge contract list\n");
  const Scene scene{contract, context};
  add_making(scene);
  add_looking(scene);
  add_state_change(scene, "suspend", "stop a contract until it is resumed");
  add_state_change(scene, "resume", "let a suspended contract run again");
  add_state_change(scene, "revoke", "end a contract for good");
  add_contract_simulate(contract, context);
  add_evict(scene);
  add_hardware(scene);
  add_machines(scene);
}

}  // namespace tb::cli

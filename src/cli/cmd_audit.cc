// audit: verify a log, prove one record of it, watch it.
#include <fmt/format.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cli/audit.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/key_file.h"

namespace tb::cli {
namespace {

struct Flags {
  LogFile log;
  RemoteLog remote;
  SettingFlags settings;
  std::string proof, out;
  bool control_plane = false, follow = false;
  std::uint64_t record = 0, lines = 10;
};

Ed25519PublicKey pinned_key(const Settings& settings) {
  if (settings.control_plane_key.empty()) {
    throw usage_error("checking a control plane needs --control-plane-key, its identity key");
  }
  return read_public_key(settings.control_plane_key);
}

Json checkpoint_json(const tlog::Checkpoint& checkpoint) {
  Json json = Json::object();
  json.set("origin", checkpoint.origin);
  json.set("size", checkpoint.size);
  json.set("root", to_hex(checkpoint.root));
  return json;
}

void verify_file(const Flags& flags, const Console& console) {
  const LogVerdict verdict = verify_log(flags.log);
  Json checkpoints = Json::array();
  std::string text = fmt::format("ok: {} records, root {}\n", verdict.records, verdict.root);
  for (const auto& found : verdict.checkpoints) {
    Json item = checkpoint_json(found.checkpoint);
    item.set("file", found.name);
    item.set("signed_by_key", found.signed_by_key);
    text += fmt::format("ok: {}: the first {} records", printable(found.name), found.checkpoint.size);
    if (found.cosigned_seconds) {
      const std::string when = to_rfc3339(static_cast<UnixMs>(*found.cosigned_seconds) * 1000);
      item.set("cosigned_at", when);
      text += ", countersigned " + when;
    }
    text += "\n";
    checkpoints.push(std::move(item));
  }
  if (verdict.first > 0) {
    text += fmt::format("ok: the {} records before were deleted; what is left continues them\n", verdict.first);
  }
  if (verdict.cosigned_records) {
    text += fmt::format("ok: {} of {} records are countersigned: neither side can rewrite them\n",
                        *verdict.cosigned_records, verdict.records);
  }
  if (verdict.checkpoints.empty()) {
    console.warning("there is no checkpoint: nothing shows that records are not missing at the end");
  } else if (flags.log.key_file.empty()) {
    console.warning("the checkpoints' signatures were not checked: give --key");
  }
  Json result = Json::object();
  result.set("ok", true);
  result.set("first", verdict.first);
  result.set("records", verdict.records);
  if (verdict.cosigned_records) result.set("cosigned_records", *verdict.cosigned_records);
  result.set("head", verdict.head);
  result.set("root", verdict.root);
  result.set("checkpoints", std::move(checkpoints));
  console.result(result, text.substr(0, text.size() - 1));
}

void verify_proof_file(const Flags& flags, const Console& console) {
  if (flags.log.key_file.empty()) throw usage_error("checking a proof needs --key, the public key of its log");
  const ProvenRecord proven = verify_proof(flags.proof, flags.log.key_file);
  Json result = Json::object();
  result.set("ok", true);
  result.set("index", proven.index);
  result.set("record", proven.line);
  result.set("checkpoint", checkpoint_json(proven.checkpoint));
  console.result(result, fmt::format("ok: record {} of {} is\n{}", proven.index, printable(proven.checkpoint.origin),
                                     printable(proven.line)));
}

void verify_control_plane(const Flags& flags, const Console& console) {
  if (flags.remote.state_file.empty()) {
    throw usage_error("--state says where the checkpoint is kept until the next time");
  }
  const Settings settings = settle(flags.settings);
  ControlPlane control_plane(settings, console);
  const RemoteVerdict verdict = verify_remote(control_plane, pinned_key(settings), flags.remote);
  if (!verdict.earlier) console.note("no checkpoint was kept from before: a history rewritten until now does not show");
  Json result = Json::object();
  result.set("ok", true);
  result.set("events", verdict.events);
  result.set("whole", verdict.whole);
  result.set("checkpoint", checkpoint_json(verdict.checkpoint));
  if (verdict.earlier) result.set("continues", checkpoint_json(*verdict.earlier));
  std::string text = fmt::format("ok: {} records", verdict.checkpoint.size);
  if (verdict.earlier) text += fmt::format(", continuing the {} of last time", verdict.earlier->size);
  text += verdict.whole ? ", all of them checked" : fmt::format(", {} new ones of yours proven", verdict.events);
  console.result(result, text);
}

void verify(const Flags& flags, const Console& console) {
  const int kinds = (flags.log.path.empty() ? 0 : 1) + (flags.proof.empty() ? 0 : 1) + (flags.control_plane ? 1 : 0);
  if (kinds != 1) throw usage_error("one of FILE, --proof and --control-plane is required");
  if (flags.control_plane) return verify_control_plane(flags, console);
  if (!flags.proof.empty()) return verify_proof_file(flags, console);
  verify_file(flags, console);
}

void prove(const Flags& flags, const Console& console) {
  if (flags.log.path.empty() == !flags.control_plane) throw usage_error("one of FILE and --control-plane is required");
  tlog::InclusionProof proof;
  if (flags.control_plane) {
    const Settings settings = settle(flags.settings);
    ControlPlane control_plane(settings, console);
    proof = prove_event(control_plane, pinned_key(settings), flags.record);
  } else {
    proof = prove_record(flags.log, flags.record);
  }
  const std::string text = proof.to_text();
  if (!flags.out.empty()) value_or_throw(write_file_atomically(flags.out, text, 0644, false));
  Json result = Json::object();
  result.set("record", flags.record);
  if (flags.out.empty()) {
    result.set("proof", text);
  } else {
    result.set("file", flags.out);
  }
  console.result(result, flags.out.empty() ? text.substr(0, text.size() - 1) : flags.out);
}

void tail(const Flags& flags, const Console& console) {
  try {
    tail_log(flags.log.path, flags.lines, flags.follow, [&](std::string_view line) {
      console.data((console.json ? std::string(line) : record_text(line)) + "\n");
    });
  } catch (const Error& error) {
    // Watching ends by an interrupt: that is no failure.
    if (!flags.follow || error.reason != "cancelled") throw;
  }
}

Command add_action(Command audit, Context& context, const std::shared_ptr<Flags>& flags, const char* name,
                   const char* description, const std::string& example, void (*action)(const Flags&, const Console&)) {
  const Command command = add_command(audit, context, name, description, "trustbridge audit " + example);
  command.callback(
      [&context, flags, action] { context.action = [&context, flags, action] { action(*flags, context.console); }; });
  return command;
}

void add_log_flags(Command command, Flags& flags) {
  command.add_option("file", flags.log.path, "the log: a sentinel's audit.jsonl, or exported events").type_name("FILE");
  command
      .add_option("--checkpoint", flags.log.checkpoints,
                  "a checkpoint of the log; may be repeated [files FILE.checkpoint* beside it]")
      .type_name("FILE")
      .takes_one();
  command.add_option("--key", flags.log.key_file, "public key that the checkpoints are signed with").type_name("FILE");
  command.add_flag("--control-plane", flags.control_plane, "the event log of a control plane, over HTTP")
      .group("Control plane");
  command
      .add_option("--control-plane-key", flags.settings.control_plane_key,
                  "file with its identity key, which is pinned [TB_CONTROL_PLANE_KEY, profile]")
      .type_name("FILE")
      .group("Control plane");
  add_control_plane_flags(command, flags.settings);
}

}  // namespace

void add_audit(Command root, Context& context) {
  const Command audit = root.add_subcommand("audit", "check a log that somebody else keeps");
  audit.group("Commands");
  audit.require_subcommand();
  audit.footer("Example:\n  trustbridge audit verify audit.jsonl --key audit.pub\n");

  auto checking = std::make_shared<Flags>();
  const Command verify_command =
      add_action(audit, context, checking, "verify", "prove a log whole and unchanged, or say where it is not",
                 "verify audit.jsonl --key audit.pub", verify);
  add_log_flags(verify_command, *checking);
  verify_command
      .add_option("--witness-key", checking->log.witness_key_file,
                  "identity key of a control plane that must have countersigned the log")
      .type_name("FILE");
  verify_command.add_option("--proof", checking->proof, "check the proof of one record instead").type_name("FILE");
  verify_command
      .add_option("--state", checking->remote.state_file,
                  "the checkpoint kept from last time, which the log must continue; made at the first time")
      .type_name("FILE")
      .group("Control plane");
  verify_command
      .add_option("--export", checking->remote.export_file, "write the events there, their checkpoint beside them")
      .type_name("FILE")
      .group("Control plane");

  auto proving = std::make_shared<Flags>();
  const Command prove_command =
      add_action(audit, context, proving, "prove", "make the proof that one record is in a log",
                 "prove audit.jsonl --record 17 --out 17.tlog-proof", prove);
  add_log_flags(prove_command, *proving);
  prove_command.add_option("--record", proving->record, "its number: `seq`").required().type_name("N");
  prove_command.add_option("--out", proving->out, "where the proof goes [standard output]").type_name("FILE");

  auto watching = std::make_shared<Flags>();
  const Command tail_command = add_action(audit, context, watching, "tail", "show the last records, one line each",
                                          "tail -f /var/lib/trustbridge-sentinel/audit/audit.jsonl", tail);
  tail_command.add_option("file", watching->log.path, "the log").required().type_name("FILE");
  tail_command.add_option("-n,--lines", watching->lines, "how many [10]").type_name("N");
  tail_command.add_flag("-f,--follow", watching->follow, "go on with what is appended, until an interrupt");
}

}  // namespace tb::cli

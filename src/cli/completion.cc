#include "cli/completion.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <vector>

#include "base/error.h"

namespace tb::cli {
namespace {

enum class Takes { kNothing, kPath, kOther };

struct Flag {
  std::vector<std::string> names;  // with their dashes
  std::string text;
  Takes takes = Takes::kNothing;
};

struct Node {
  std::string path;  // "" for the program itself, "contract create"
  std::string text;
  std::vector<Flag> flags;
  std::vector<const CLI::App*> children;
};

Takes taken_by(const CLI::Option& option) {
  if (option.get_type_size() == 0) return Takes::kNothing;
  const std::string type = option.get_type_name();
  for (std::string_view path : {"FILE", "DIR", "PATH"}) {
    if (type.find(path) != std::string::npos) return Takes::kPath;
  }
  return Takes::kOther;
}

void collect(const CLI::App& app, const std::string& path, std::vector<Node>& out) {
  Node command{path, app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    Flag flag{{}, option->get_description(), taken_by(*option)};
    for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
    if (!flag.names.empty()) command.flags.push_back(std::move(flag));
  }
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    command.children.push_back(child);
  }
  out.push_back(std::move(command));
  const std::vector<const CLI::App*> children = out.back().children;
  for (const CLI::App* child : children) {
    collect(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), out);
  }
}

// Text that can stand inside single quotes, for bash, zsh and fish alike.
std::string unquotable(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c != '\'') out += c;
  }
  return out;
}

// Inside a zsh _arguments spec, brackets and colons end a part.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (char c : unquotable(text)) {
    if (c == '[' || c == ']' || c == ':') out += '\\';
    out += c;
  }
  return out;
}

std::string words_of(const Node& command) {
  std::string words;
  for (const CLI::App* child : command.children) words += child->get_name() + " ";
  for (const Flag& flag : command.flags) {
    for (const std::string& name : flag.names) words += name + " ";
  }
  if (!words.empty()) words.pop_back();
  return words;
}

std::string bash(const std::vector<Node>& commands) {
  std::string steps, words, paths, others;
  for (const Node& command : commands) {
    if (!command.path.empty()) {
      const std::size_t last = command.path.rfind(' ');
      const std::string parent = last == std::string::npos ? "" : command.path.substr(0, last);
      const std::string name = last == std::string::npos ? command.path : command.path.substr(last + 1);
      steps += fmt::format("      '{}:{}') at='{}' ;;\n", parent, name, command.path);
    }
    words += fmt::format("    '{}') words='{}' ;;\n", command.path, words_of(command));
    for (const Flag& flag : command.flags) {
      for (const std::string& name : flag.names) {
        const std::string pattern = fmt::format("'{}:{}'", command.path, name);
        if (flag.takes == Takes::kPath) paths += (paths.empty() ? "" : "|") + pattern;
        if (flag.takes == Takes::kOther) others += (others.empty() ? "" : "|") + pattern;
      }
    }
  }
  return fmt::format(
      R"(# bash completion for trustbridge; put it into ~/.local/share/bash-completion/completions/trustbridge
_trustbridge() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" at='' words='' word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$at:$word" in
{}    esac
  done
  case "$at:$prev" in
    {}) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    {}) COMPREPLY=(); return ;;
  esac
  case "$at" in
{}  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}}
complete -o default -F _trustbridge trustbridge
)",
      steps, paths, others, words);
}

std::string zsh_function_name(const std::string& path) {
  std::string name = "_trustbridge";
  for (char c : path.empty() ? path : " " + path) name += c == ' ' || c == '-' ? '_' : c;
  return name;
}

std::string zsh(const std::vector<Node>& commands) {
  std::string out =
      "#compdef trustbridge\n# zsh completion for trustbridge; put it into a directory of $fpath as _trustbridge\n";
  for (const Node& command : commands) {
    out += fmt::format("{}() {{\n", zsh_function_name(command.path));
    std::string specs;
    for (const Flag& flag : command.flags) {
      for (const std::string& name : flag.names) {
        specs += fmt::format(" \\\n    '{}[{}]", name, zsh_text(flag.text));
        if (flag.takes == Takes::kPath) specs += ":file:_files";
        if (flag.takes == Takes::kOther) specs += ":value: ";
        specs += "'";
      }
    }
    if (command.children.empty()) {
      out += fmt::format("  _arguments{} \\\n    '*:file:_files'\n}}\n", specs);
      continue;
    }
    out += "  local -a commands=(\n";
    std::string cases;
    for (const CLI::App* child : command.children) {
      out += fmt::format("    '{}:{}'\n", child->get_name(), unquotable(child->get_description()));
      const std::string path = command.path.empty() ? child->get_name() : command.path + " " + child->get_name();
      cases += fmt::format("      {}) {} ;;\n", child->get_name(), zsh_function_name(path));
    }
    out += fmt::format(
        "  )\n  local context state line\n  _arguments -C{} \\\n    '1: :->command' \\\n    '*:: :->rest'\n", specs);
    out += fmt::format(
        "  case $state in\n    command) _describe command commands ;;\n    rest) case $line[1] in\n{}"
        "    esac ;;\n  esac\n}}\n",
        cases);
  }
  return out + "_trustbridge \"$@\"\n";
}

std::string fish(const std::vector<Node>& commands) {
  std::string out = "# fish completion for trustbridge; put it into ~/.config/fish/completions/trustbridge.fish\n";
  for (const Node& command : commands) {
    std::string where = "__fish_use_subcommand";
    if (!command.path.empty()) {
      where.clear();
      std::string rest = command.path;
      while (!rest.empty()) {
        const std::size_t space = rest.find(' ');
        where += fmt::format("{}__fish_seen_subcommand_from {}", where.empty() ? "" : "; and ", rest.substr(0, space));
        rest = space == std::string::npos ? "" : rest.substr(space + 1);
      }
    }
    for (const CLI::App* child : command.children) {
      out += fmt::format("complete -c trustbridge -n '{}' -f -a '{}' -d '{}'\n", where, child->get_name(),
                         unquotable(child->get_description()));
    }
    for (const Flag& flag : command.flags) {
      out += fmt::format("complete -c trustbridge -n '{}'", where);
      for (const std::string& name : flag.names) {
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (flag.takes == Takes::kPath) out += " -r -F";
      if (flag.takes == Takes::kOther) out += " -x";
      out += fmt::format(" -d '{}'\n", unquotable(flag.text));
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const CLI::App& root, std::string_view shell) {
  std::vector<Node> commands;
  collect(root, "", commands);
  if (shell == "bash") return bash(commands);
  if (shell == "zsh") return zsh(commands);
  if (shell == "fish") return fish(commands);
  throw Error("usage", fmt::format("there is no completion for {}: bash, zsh or fish", shell));
}

}  // namespace tb::cli

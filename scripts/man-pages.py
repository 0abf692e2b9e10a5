#!/usr/bin/env python3
"""Writes the manual pages from what the programs say of themselves: --help of each command, --print-config-doc of the services.

    scripts/man-pages.py --bin build/release/bin --out DIR

A page a command of trustbridge (section 1), one a service (section 8), in man(7). Version and date are those of the newest entry
of deploy/debian/changelog, so that the same programs give the same bytes.
"""
import argparse
import email.utils
import importlib.util
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVICES = {
    "trustbridge-control-plane": "assets, contracts, leases and keys of model weights",
    "trustbridge-sentinel": "run a licensed model: key, download, decryption, gate",
}
FILES = {
    "trustbridge": [("~/.trustbridge/config.toml", "profiles: see above")],
    "trustbridge-control-plane": [("/etc/trustbridge/control-plane.toml", "settings of the packaged service"),
                                  ("/var/lib/trustbridge", "database, keys, stored objects")],
    "trustbridge-sentinel": [("/etc/trustbridge/sentinel/NAME.toml", "settings of trustbridge-sentinel@NAME.service"),
                             ("/etc/trustbridge/sentinel/NAME.token", "its contract's activation token, 0600"),
                             ("/var/lib/trustbridge-sentinel/NAME", "its keys, API keys and audit log"),
                             ("/var/cache/trustbridge-sentinel/NAME", "its ciphertext")],
}


def roff(text):
    """One line of text, safe in any place."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("→", "\\(->")
    text = text.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti").replace("'", "\\(aq")
    return "\\&" + text if text.startswith((".", "'")) else text


def marked(text):
    """A line of Markdown: code in bold, links as their text."""
    out = []
    for number, piece in enumerate(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).split("`")):
        out.append(f"\\fB{roff(piece)}\\fR" if number % 2 else roff(piece).removeprefix("\\&"))
    line = "".join(out)
    return "\\&" + line if line.startswith((".", "'")) else line


def released():
    """(version, ISO date) of the newest entry of the changelog."""
    text = (ROOT / "deploy/debian/changelog").read_text(encoding="utf-8")
    version = re.match(r"trustbridge \(([^)]+)\)", text)[1]
    date = email.utils.parsedate_to_datetime(re.search(r"^ -- .*>  (.+)$", text, re.MULTILINE)[1])
    return version, date.date().isoformat()


def head(name, section, what):
    version, date = released()
    return [f'.TH {roff(name.upper())} {section} {date} "TrustBridge {version}" "TrustBridge"', ".SH NAME", f"{roff(name)} \\- {roff(what)}"]


def files(name):
    out = [".SH FILES"] if name in FILES else []
    for path, what in FILES.get(name, ()):
        out += [".TP", f"\\fI{roff(path)}\\fR", roff(what)]
    return out


def help_body(text, level):
    """The lines of a --help after its usage. `level`: SH, or SS for a command below a command."""
    out, example = [], False
    for line in text.splitlines():
        if found := re.match(r"(\S[^:]*):$", line):
            out.append(f'.{level} {roff(found[1].upper() if level == "SH" else found[1])}')
            example = found[1] == "Example"
        elif not line.strip():
            continue
        elif example and line.startswith("  "):
            out += [".PP", ".EX", roff(line[2:].rstrip()), ".EE"]
        elif found := re.match(r"  (\S.*?)(?: {2,}(\S.*))?$", line):
            out += [".TP", f"\\fB{roff(found[1])}\\fR"] + ([roff(found[2])] if found[2] else [])
        elif line.startswith(" " * 8):
            out.append(roff(line.strip()))
        else:
            out += [".PP", roff(line)]
    # An option whose explanation never came is a tag without a body.
    return [line for at, line in enumerate(out) if line != ".TP" or at + 2 < len(out)]


def split_help(text):
    """(what it does, usage, the rest)."""
    what, _, rest = text.partition("\nUsage: ")
    usage, _, rest = rest.partition("\n")
    return what.strip().splitlines()[0].rstrip("."), usage.strip(), rest


def command_page(program, commands):
    """One command with those below it; `commands` are (path, help), the command's own first."""
    path, text = commands[0]
    name = "-".join((program, *path))
    what, usage, rest = split_help(text)
    out = head(name, 1, what) + [".SH SYNOPSIS", roff(usage)] + help_body(rest, "SH")
    for below, help_text in commands[1:]:
        what, usage, rest = split_help(help_text)
        out += [f".SH {roff(' '.join((program, *below)).upper())}", roff(what[:1].upper() + what[1:] + "."), ".PP", f"\\fB{roff(usage)}\\fR"]
        out += help_body(rest, "SS")
    return name, out + [".SH EXIT STATUS", "See \\fBtrustbridge\\fR(1).", ".SH SEE ALSO", "\\fBtrustbridge\\fR(1)"]


def table(rows):
    """A Markdown table as a list: the first cell is the tag, the others follow, named by their column where short."""
    titles, entries = rows[0], rows[1:]
    out = []
    for cells in entries:
        out += [".TP", marked(cells[0])]
        named = [f"{title}: {cell}" for title, cell in zip(titles[1:-1], cells[1:-1]) if cell.strip()]
        out.append(marked(cells[-1] or " "))
        if named:
            out += [".br", marked("; ".join(named))]
    return out


def markdown_body(text):
    out, rows, listed = [], [], False
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if not set("".join(cells)) <= set("-: "):
                rows.append(cells)
            continue
        if rows:
            out += table(rows)
            rows = []
        if found := re.match(r"(#+) (.*)", line):
            out.append(f".SH {marked(found[2].upper())}")
        elif found := re.match(r"- (.*)", line):
            out += [".IP \\(bu 2", marked(found[1])]
            listed = True
        elif line.strip():
            out.append(marked(line.strip()))
        elif out and not out[-1].startswith((".PP", ".SH")) and not listed:
            out.append(".PP")
        else:
            listed = False
    return tidy(out)


def tidy(lines):
    """A paragraph break beside a heading, before a list or at the end says nothing."""
    out = []
    for line in lines:
        if line == ".PP" and out and out[-1].startswith((".SH", ".SS")):
            continue
        if out and out[-1] == ".PP" and line.startswith((".SH", ".TP", ".IP", ".PP")):
            out.pop()
        out.append(line)
    while out and out[-1] == ".PP":
        out.pop()
    return out


def service_page(binary, program):
    document = subprocess.run([binary / program, "--print-config-doc"], capture_output=True, text=True, check=True).stdout
    body = document.split("\n", 2)[2]  # without its title
    body = re.sub(r"\APrinted by `.*?(?:\n\n)", "", body.lstrip(), flags=re.DOTALL)
    out = head(program, 8, SERVICES[program]) + [".SH SYNOPSIS", f"\\fB{roff(program)}\\fR [\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fIOPTION\\fR...]"]
    if program == "trustbridge-control-plane":
        text = subprocess.run([binary / program, "--help"], capture_output=True, text=True, check=True).stdout
        out += [".SH COMMANDS", "Without one it serves. Each has \\fB\\-\\-help\\fR."]
        out += help_body(text.split("\nSubcommands:\n")[1], "SH")
    out += [".SH SETTINGS"] + markdown_body(body)
    out += [".SH SIGNALS", ".TP", "\\fBSIGTERM\\fR, \\fBSIGINT\\fR", "Ends it in order; a second one cuts waiting short."]
    if program == "trustbridge-control-plane":
        out += [".TP", "\\fBSIGHUP\\fR", "Certificate and key of the listener are read again."]
    else:
        out += [".SH EXIT STATUS", "0 after a signal, 2 for a faulty configuration or a machine that is not fit, 3 for a denial with TB_EXIT_ON_DENIAL,",
                "others as \\fBtrustbridge\\fR(1) has them."]
    return program, out + files(program) + [".SH SEE ALSO", "\\fBtrustbridge\\fR(1), \\fBsystemd.exec\\fR(5)"]


def write(place, section, name, lines):
    body = "\n".join(tidy(lines)) + "\n"
    (place / f"{name}.{section}").write_text(body, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for old in given.out.glob("trustbridge*.[18]"):
        old.unlink()
    spec = importlib.util.spec_from_file_location("cli_docs", ROOT / "scripts/cli-docs.py")
    cli_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cli_docs)
    pages = list(cli_docs.pages(given.bin / "trustbridge"))
    commands = {}
    for path, text in pages[1:]:
        commands.setdefault(path[0], []).append((path, text))
    if len(commands) < 10:
        print("man-pages: the help names hardly any commands", file=sys.stderr)
        return 1
    for below in commands.values():
        write(given.out, 1, *command_page("trustbridge", below))
    what, usage, rest = split_help(pages[0][1])
    out = head("trustbridge", 1, what) + [".SH SYNOPSIS", roff(usage)] + help_body(rest, "SH")
    out += [".SH OUTPUT"] + markdown_body(cli_docs.BEGIN.split("\n\n", 2)[2].split("\n| exit")[0])
    out += [".SH EXIT STATUS"] + table([[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| (?:exit|\d+).*", cli_docs.BEGIN, re.MULTILINE)])
    profile = re.search(r"```toml\n(.*?)```", cli_docs.BEGIN, re.DOTALL)[1]
    out += [".SH PROFILES", "Flags come first, then the environment, then the profile:", ".PP", ".EX"]
    out += [roff(line) for line in profile.splitlines()] + [".EE"]
    out += files("trustbridge") + [".SH SEE ALSO"]
    out.append(", ".join(f"\\fBtrustbridge\\-{roff(name)}\\fR(1)" for name in sorted(commands)) + ", " +
               ", ".join(f"\\fB{roff(name)}\\fR(8)" for name in SERVICES))
    write(given.out, 1, "trustbridge", out)
    for program in SERVICES:
        write(given.out, 8, *service_page(given.bin, program))
    return 0


if __name__ == "__main__":
    sys.exit(main())

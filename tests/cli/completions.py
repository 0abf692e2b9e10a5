"""Completion scripts come from the command tree: bash runs ours, and the other shells' scripts name every command."""
import shutil
import subprocess

from scenario import check, equal, play


def completed(s, script, *words):
    """What bash offers for the last of `words`."""
    line = f"""source {script}; COMP_WORDS=(trustbridge {' '.join(repr(w) for w in words)}); COMP_CWORD={len(words)}
               _trustbridge; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=s.folder, check=True)
    return sorted(filter(None, done.stdout.split("\n")))


def story(s):
    bash = s.file("bash.sh", s.tb("completion", "bash").raw)
    subprocess.run(["bash", "-n", bash], check=True)
    equal(completed(s, bash, "enc"), ["encrypt"], "verbs")
    equal(completed(s, bash, "contract", "re"), ["resume", "revoke"], "verbs of contract")
    equal(completed(s, bash, "encrypt", "--allow"), ["--allow-finetune", "--allow-insecure-http", "--allow-pickle"], "flags")
    check("--max-seats" in completed(s, bash, "contract", "create", "--"), "flags of contract create")
    check("--max-seats" not in completed(s, bash, "contract", "show", "--"), "flags of contract show")
    s.file("weights.gguf", "")
    equal(completed(s, bash, "decrypt", "--key-file", "wei"), ["weights.gguf"], "files")
    for shell in ("zsh", "fish"):
        text = s.tb("completion", shell).out
        for word in ("encrypt", "contract", "evict", "key-file", "activation-token-file"):
            check(word in text, f"{word} is not in the script for {shell}")
        if shutil.which(shell):
            subprocess.run([shell, "-n", s.file(f"script.{shell}", text)], check=True)


play(story)

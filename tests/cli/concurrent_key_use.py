"""Of several encryptions at once with one key, exactly one goes through."""
import subprocess

from scenario import check, equal, play


def story(s):
    s.sparse("big", 32 << 20)
    for given in (True, False):
        key = f"shared-{given}.key"
        if given:
            s.tb("keygen", "--out", key)
        runs = [s.start("encrypt", "big", "--asset-id", f"a{n}", "--out", f"{given}-{n}.tbenc", "--key-file", key, "--json",
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for n in range(4)]
        outs = [run.communicate(timeout=90)[0] for run in runs]
        codes = sorted(run.returncode for run in runs)
        equal(codes, [0, 7, 7, 7], f"exit statuses: {outs}")
        winner = next(n for n, run in enumerate(runs) if run.returncode == 0)
        equal([n for n in range(4) if (s.folder / f"{given}-{n}.tbenc").exists()], [winner], "ciphertexts")
        text = (s.folder / key).read_text()
        equal(text.count("# asset"), 1, "claims")
        check(f"# asset a{winner} " in text, "the claim is another's")
        s.tb("verify", f"{given}-{winner}.tbenc", "--key-file", key)


play(story)

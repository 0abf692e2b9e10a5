"""A small program that finds its libraries as ours do, for images that are made in a moment."""
import os
import subprocess


def make(s, name="sentinel", text="hello"):
    source = s.file(name + ".c", f'#include <stdio.h>\nint main(void) {{ puts("{text}"); return 0; }}\n')
    subprocess.run([os.environ.get("TB_CC", "cc"), "-o", str(s.folder / name), str(source), "-Wl,--build-id=none",
                    "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib/trustbridge"], check=True)

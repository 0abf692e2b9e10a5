"""~/.trustbridge/config.toml: flag before environment before profile; faults name the file and the line."""
import subprocess

from scenario import check, play


def story(s):
    s.file("home/.trustbridge/config.toml", "default_profile = 'a'\n[profiles.a]\nedc_endpoint = 'http://127.0.0.1:1/from-profile'\n"
           "[profiles.b]\nedc_endpoint = 'http://127.0.0.1:1/from-b'\n")

    def endpoint(*more):
        """What doctor says when the endpoint does not answer: exit 6 and a result."""
        process = s.start("doctor", "--json", *more, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return process.communicate(timeout=60)[0].decode()

    check("from-profile" in endpoint(), "the default profile")
    check("from-b" in endpoint("--profile", "b"), "a named profile")
    check("from-flag" in endpoint("--edc-endpoint", "http://127.0.0.1:1/from-flag"), "a flag before the profile")
    s.environment["TB_EDC_ENDPOINT"] = "http://127.0.0.1:1/from-environment"
    check("from-environment" in endpoint("--profile", "b"), "the environment before the profile")
    check("from-flag" in endpoint("--edc-endpoint", "http://127.0.0.1:1/from-flag"), "a flag before the environment")
    del s.environment["TB_EDC_ENDPOINT"]
    done = s.fails("config_invalid", 2, "doctor", "--profile", "gone")
    check("has no profile gone" in done.err, done.err)
    s.file("home/.trustbridge/config.toml", "[profiles.a]\nedc_endpont = 'x'\n")
    s.fails("config_invalid", 2, "contract", "list", "--profile", "a")
    s.file("home/.trustbridge/config.toml", "[profiles.a\n")
    check("config.toml:1: " in s.fails("config_invalid", 2, "contract", "list").err, "the line")
    s.file("home/.trustbridge/config.toml", "")
    done = s.fails("usage", 2, "contract", "list")
    check("no control plane is set" in done.err and "TB_EDC_ENDPOINT" in done.err, done.err)


play(story)

"""Help, the version, and what a shell completes."""

import shutil
import subprocess

import pytest

import nanokimi

COMMANDS = ["prepare", "train", "generate", "chat", "evaluate", "bench", "presets", "export", "completion"]


@pytest.mark.parametrize("words", [["-h"], ["--help"], []])
def test_help_lists_every_command(words: list[str], run) -> None:
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert [
        line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.strip()
    ] == COMMANDS


def test_a_command_has_the_short_help_and_says_what_its_options_are(run) -> None:
    for command in COMMANDS:
        if command != "bench":
            assert run(command, "-h") == run(command, "--help")
    for option in ("--init-from", "--resume", "--train", "--layout"):
        assert option in run("train", "-h")[1]


def test_the_version_is_that_of_the_package(run) -> None:
    assert run("--version") == (0, f"nanokimi {nanokimi.__version__}\n", "")


# What stands on the line, and what Tab must and must not offer for its last word.
TABS = [
    ("nanokimi tr", {"train"}, {"generate"}),
    ("nanokimi train --mo", {"--model"}, {"--prompt"}),
    ("nanokimi train --model kimi-ti", {"kimi-tiny", "kimi-tiny-mla"}, {"kimi-small"}),
    ("nanokimi train --model = kimi-ti", {"kimi-tiny", "kimi-tiny-mla"}, {"kimi-small"}),
    ("nanokimi train --train =", {"train-kimi", "train-tiny"}, {"kimi-tiny"}),
    ("nanokimi generate --checkpoint gpt", {"gpt-storyworld"}, {"kimi-storyworld"}),
    ("nanokimi presets bench", {"bench-cpu"}, {"kimi-tiny"}),
]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_script(run, tmp_path) -> None:
    """The oracle is bash: it runs the function as Tab does."""
    code, script, _ = run("completion", "bash")
    (tmp_path / "it.sh").write_text(script)
    tabs = "; ".join(
        f'COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}; _nanokimi; echo "${{COMPREPLY[*]}}"'
        for line, _, _ in TABS
    )
    done = subprocess.run(
        ["bash", "-c", f"set -u; . ./it.sh; {tabs}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (code, done.returncode, done.stderr) == (0, 0, "")
    for (line, offered, not_offered), found in zip(TABS, done.stdout.splitlines(), strict=True):
        assert offered <= set(found.split()) and not not_offered & set(found.split()), line


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_reads_the_script(run, tmp_path) -> None:
    (tmp_path / "it.zsh").write_text(run("completion", "zsh")[1])
    done = subprocess.run(["zsh", "-fc", ". ./it.zsh"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_that_is_not_known_is_one_line(run) -> None:
    code, out, err = run("completion", "fi\x1bsh")
    assert (code, out, err.count("\n")) == (2, "", 1) and "\x1b" not in err

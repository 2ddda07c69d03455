"""The script with which a shell completes `nanokimi`: commands, options and the names that an option takes.

It holds all words itself. A script that asked the program at every Tab would load torch each time.
"""

import shlex
from collections.abc import Mapping, Sequence

from nanokimi import pretrained
from nanokimi.cli.writing import DEVICES
from nanokimi.presets.yaml_config import preset_names
from nanokimi.text.sources import SOURCES

SHELLS = ("bash", "zsh")
# zsh runs a function of bash, once it is told to.
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
# Where no word fits, and behind an option that takes a path, the shell completes file names (-o default).
_FUNCTION = """\
_nanokimi() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  if [ "$cur" = "=" ]; then cur=""
  elif [ "$prev" = "=" ]; then prev="${{COMP_WORDS[COMP_CWORD-2]}}"
  fi
  if [ "$COMP_CWORD" -eq 1 ]; then words={commands}
  else
    case "${{COMP_WORDS[1]}} $prev" in
{values}
    *) case "${{COMP_WORDS[1]}}" in
{options}
      esac ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _nanokimi nanokimi
"""


def make_script(shell: str, options: Mapping[str, Sequence[str]]) -> str:
    """The script for one of `SHELLS`. options: the words that begin with `-`, for each command."""
    models = [n for n in preset_names() if not n.startswith(("train-", "bench-", "study-"))]
    shipped = pretrained.names()
    known = {
        "--model": models,
        "--train": preset_names("train-"),
        "--data": list(SOURCES),
        "--device": list(DEVICES),
        "--layout": ["replicated", "sharded"],
        "--compile": ["auto", "on", "off"],
        "--checkpoint": shipped,
        "--init-from": shipped,
    }
    values = [
        f"    {shlex.quote(f'{command} {option}')}) words={shlex.quote(' '.join(known[option]))} ;;"
        for command, having in options.items()
        for option in having
        if option in known
    ]
    values.append(f"    'presets presets') words={shlex.quote(' '.join(preset_names()))} ;;")
    values.append(f"    'completion completion') words={shlex.quote(' '.join(SHELLS))} ;;")
    script = _FUNCTION.format(
        commands=shlex.quote(" ".join([*options, "--help", "--version"])),
        values="\n".join(values),
        options="\n".join(
            f"      {command}) words={shlex.quote(' '.join(having))} ;;"
            for command, having in options.items()
        ),
    )
    return (_ZSH if shell == "zsh" else "") + script

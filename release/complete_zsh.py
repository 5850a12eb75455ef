"""Completion for zsh."""

import re
import shlex
from collections.abc import Iterator

from release.commands import Command, Kind, Option, zsofs

_ACTIONS = {
    Kind.FILE: "_files",
    Kind.DIRECTORY: "_files -/",
    Kind.USER: "_users",
    Kind.GROUP: "_groups",
    Kind.MOUNT: "_zsofs_mount_points",
    Kind.SERVICE: "_zsofs_service_names",
    Kind.OTHER: " ",  # says what is missing, and offers nothing
}

_SCRIPT = """\
#compdef zsofs
# Completion of zsofs for zsh; made from the same source as `zsofs --help`.

# Mount points, and names of configs; the table has blanks as octal numbers.
_zsofs_mount_points() {{
    local -a found
    local ret=1
    found=(${{(f)"$(awk '/ - fuse\\.zsofs /{{print $5}}' /proc/self/mountinfo 2>/dev/null)"}})
    found=(${{found//\\\\040/ }})
    compadd -f -a found && ret=0
    _zsofs_service_names && ret=0
    (( ! ret )) || _files -/
}}

# Names of configs, of which services are made.
_zsofs_service_names() {{
    local -a found
    found=(/etc/zsofs/*.toml(N:t:r) ${{XDG_CONFIG_HOME:-$HOME/.config}}/zsofs/*.toml(N:t:r))
    compadd -a found
}}

{functions}

_zsofs "$@"
"""

_LEAF = """\
{name}() {{
    _arguments -s -S \\
        {specs}
}}"""

# Of what follows a command with commands beneath it, the first is one of these.
_BRANCH = """\
{name}() {{
    local curcontext=$curcontext state line ret=1
    local -A opt_args
    _arguments -s -S -C \\
        {specs} \\
        '1: :->command' '*:: :->rest' && ret=0
    case $state in
    command)
        local -a commands=({commands})
        _describe -t commands command commands && ret=0
        ;;
    rest)
        curcontext=${{curcontext%:*}}-$line[1]:
        (( $+functions[{name}_$line[1]] )) && {name}_$line[1] && ret=0
        ;;
    esac
    return ret
}}"""


def zsh() -> str:
    """The script."""
    functions = map(_function, reversed(list(zsofs().walk())))
    return _SCRIPT.format(functions="\n\n".join(functions))


def _function(command: Command) -> str:
    """The function of one command, named after its words."""
    return (_BRANCH if command.commands else _LEAF).format(
        name="_" + "_".join(command.words),
        specs=" \\\n        ".join(map(shlex.quote, _specs(command))),
        commands=" ".join(
            shlex.quote(f"{below.words[-1]}:{below.summary}") for below in command.commands
        ),
    )


def _specs(command: Command) -> Iterator[str]:
    """The specifications for _arguments: options, and what follows them."""
    for option in command.options:
        # One of the flags is enough, but for what adds up.
        others = "*" if option.repeats else f"({' '.join(option.flags)})"
        for flag in option.flags:
            yield f"{others}{flag}{_value(option, flag)}"
    yield "(- *)--help[explain this]"
    if command.argument is not Kind.OTHER:
        yield f"*: :{_ACTIONS[command.argument]}"


def _value(option: Option, flag: str) -> str:
    text = "[" + re.sub(r"([][\\:])", r"\\\1", option.text) + "]"
    if option.metavar is None:
        return text
    action = f"({' '.join(option.choices)})" if option.choices else _ACTIONS[option.value]
    return f"{'=' if flag.startswith('--') else '+'}{text}:{option.metavar}:{action}"

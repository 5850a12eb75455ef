"""Completion for bash."""

import shlex
from collections.abc import Iterator

from release.commands import Command, Kind, Option, zsofs

# As compgen calls them.
_ACTIONS = {
    Kind.FILE: "file",
    Kind.DIRECTORY: "directory",
    Kind.USER: "user",
    Kind.GROUP: "group",
    Kind.MOUNT: "mounts",
    Kind.SERVICE: "services",
    Kind.OTHER: "none",
}

_SCRIPT = """\
# Completion of zsofs for bash; made from the same source as `zsofs --help`.

# Mount points, and names of configs; the table has blanks as octal numbers.
_zsofs_mounts() {{
    local line
    awk '/ - fuse\\.zsofs /{{print $5}}' /proc/self/mountinfo 2>/dev/null |
        while read -r line; do printf '%b\\n' "$line"; done
    _zsofs_services
}}

# Names of configs, of which services are made.
_zsofs_services() {{
    local file
    for file in /etc/zsofs/*.toml "${{XDG_CONFIG_HOME:-${{HOME-}}/.config}}"/zsofs/*.toml; do
        [[ ! -e $file ]] || basename "$file" .toml
    done
}}

_zsofs() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command=zsofs words='' action='' found index
    # `--option=value` comes in three words.
    if [[ $current == '=' ]]; then
        current=''
    elif [[ $previous == '=' ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        case "$command ${{COMP_WORDS[index]}}" in
        {commands}) command="$command ${{COMP_WORDS[index]}}" ;;
        esac
    done
    case "$command $previous" in
{values}
    *)
        case $command in
{arguments}
        esac
        ;;
    esac
    COMPREPLY=()
    if [[ $action == mounts || $action == services ]] && [[ $current != -* ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r found; do
            [[ $found != "$current"* ]] || COMPREPLY+=("$found")
        done < <("_zsofs_$action")
        if [[ $action == mounts ]] && ((${{#COMPREPLY[@]}} == 0)); then
            action=directory
        fi
    fi
    if [[ $action == file || $action == directory ]] && [[ $current != -* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -A "$action" -- "$current")
    elif [[ $action == user || $action == group ]]; then
        mapfile -t COMPREPLY < <(compgen -A "$action" -- "$current")
    fi
    if [[ $words && ($current == -* || ! $action) ]]; then
        mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}}

complete -F _zsofs zsofs
"""


def bash() -> str:
    """The script."""
    commands = list(zsofs().walk())
    return _SCRIPT.format(
        commands=" | ".join(_quoted(command.words) for command in commands[1:]),
        values="\n".join(line for command in commands for line in _values(command)),
        arguments="\n".join(map(_arguments, commands)),
    )


def _values(command: Command) -> Iterator[str]:
    """A case for each option of a command that takes a value."""
    for option in command.options:
        if option.metavar is not None:
            said = " | ".join(_quoted((*command.words, flag)) for flag in option.flags)
            yield f"    {said}) {_guess(option)} ;;"


def _guess(option: Option) -> str:
    if option.choices:
        return f"words={shlex.quote(' '.join(option.choices))}"
    return f"action={_ACTIONS[option.value]}"


def _arguments(command: Command) -> str:
    """What may follow a command: options, commands beneath it, directories."""
    words = [flag for option in command.options for flag in option.flags] + ["--help"]
    words += [below.words[-1] for below in command.commands]
    action = _ACTIONS[command.argument] if command.argument is not Kind.OTHER else ""
    return (
        f"        {_quoted(command.words)}) words={shlex.quote(' '.join(words))}"
        f" action={shlex.quote(action)} ;;"
    )


def _quoted(words: tuple[str, ...]) -> str:
    return shlex.quote(" ".join(words))

"""Completion for fish."""

from collections.abc import Iterator

from release.commands import Command, Kind, Option, zsofs

_ACTIONS = {
    Kind.FILE: "-r -F",
    Kind.DIRECTORY: "-x -a '(__fish_complete_directories)'",
    Kind.USER: "-x -a '(__fish_complete_users)'",
    Kind.GROUP: "-x -a '(__fish_complete_groups)'",
    Kind.MOUNT: "-x -a '(__zsofs_mounts)'",
    Kind.SERVICE: "-x -a '(__zsofs_services)'",
    Kind.OTHER: "-x",
}

_SCRIPT = """\
# Completion of zsofs for fish; made from the same source as `zsofs --help`.

function __zsofs_command --description 'Whether these are the commands that were said so far'
    set -l said zsofs
    for word in (commandline -opc)[2..]
        if contains -- "$said $word" {commands}
            set said "$said $word"
        end
    end
    test "$said" = "$argv"
end

function __zsofs_mounts --description 'Mount points; the table has blanks as octal numbers'
    string match -rg '^\\S+ \\S+ \\S+ \\S+ (\\S+) .* - fuse\\.zsofs ' </proc/self/mountinfo |
        string replace -a '\\040' ' '
end

function __zsofs_services --description 'Names of configs, of which services are made'
    set -l home $XDG_CONFIG_HOME
    test -n "$home"; or set home $HOME/.config
    for file in /etc/zsofs/*.toml $home/zsofs/*.toml
        basename $file .toml
    end
end

complete -c zsofs -f
{completions}
"""


def fish() -> str:
    """The script."""
    commands = list(zsofs().walk())
    return _SCRIPT.format(
        commands=" ".join(_quoted(" ".join(command.words)) for command in commands[1:]),
        completions="\n".join(line for command in commands for line in _completions(command)),
    )


def _completions(command: Command) -> Iterator[str]:
    """A line for each thing that may follow a command."""
    begin = f"complete -c zsofs -n '__zsofs_command {' '.join(command.words)}'"
    for below in command.commands:
        yield f"{begin} -a {below.words[-1]} -d {_quoted(below.summary)}"
    for option in command.options:
        flags = " ".join(
            f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags
        )
        value = f" {_value(option)}" if option.metavar is not None else ""
        yield f"{begin} {flags}{value} -d {_quoted(option.text)}"
    yield f"{begin} -l help -d 'explain this'"
    if command.argument is Kind.FILE:
        yield f"{begin} -F"
    elif command.argument is Kind.DIRECTORY:
        yield f"{begin} -a '(__fish_complete_directories)'"
    elif command.argument is Kind.MOUNT:
        yield f"{begin} -a '(__zsofs_mounts)'"
        yield f"{begin} -a '(__zsofs_services)'"
        yield f"{begin} -a '(__fish_complete_directories)'"
    elif command.argument is Kind.SERVICE:
        yield f"{begin} -a '(__zsofs_services)'"


def _value(option: Option) -> str:
    if option.choices:
        return f"-x -a {_quoted(' '.join(option.choices))}"
    return _ACTIONS[option.value]


def _quoted(text: str) -> str:
    """A text as one word: in single quotes, where fish knows two escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

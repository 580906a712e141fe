"""
``ensemble completion``: scripts for bash, zsh and fish, made from the parser.

What completes a value is its metavar: files for ``FILE`` and ``PATH``, folders for ``DIR``, the kinds of tones for
``CHI``, and for ``PEER`` what ``ensemble peers --words`` says at that moment of the humd that the options on the line
lead to.  An alias may have come from somebody else, so no script ever lets the shell expand one; nor anything on the
line, of which only the quotes go, and a ``~`` at the beginning of a path is home.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from ensemble.command.here import Here
from ensemble.command.outcome import OK
from ensemble.config import PLACES
from ensemble.tone import Chi

SHELLS: Final = ("bash", "zsh", "fish")

_WHERE: Final = tuple(f"--{name}" for name in PLACES)
_CASES: Final = "|".join(_WHERE)

# What a script does to get the names: those of the humd that the line is for.
_BASH_PEERS: Final = r"""
_ensemble_peers() {
    local peer at option value where=()
    for ((at = 2; at < COMP_CWORD - 1; at++)); do
        case ${COMP_WORDS[at]} in
            WHERE)
                option=${COMP_WORDS[at++]}
                [[ ${COMP_WORDS[at]} == = ]] && ((at++))
                value=${COMP_WORDS[at]//[\"\'\\]/}
                [[ $value == '~/'* ]] && value=$HOME/${value:2}
                where+=("$option=$value")
                ;;
        esac
    done
    while IFS= read -r peer; do
        [[ $peer == "$word"* ]] && COMPREPLY+=("$(printf %q "$peer")")
    done < <(ensemble peers --words "${where[@]}" 2>/dev/null)
}
""".replace("WHERE", _CASES)
_ZSH_PEERS: Final = r"""
_ensemble_peers() {
    local -a peers where
    local -i at
    local option value
    for ((at = 2; at < CURRENT; at++)); do
        option=${(Q)words[at]}
        case $option in
            WHERE) value=${(Q)words[++at]} ;;
            (--*=*) value=${option#*=} option=${option%%=*} ;;
            *) continue ;;
        esac
        case $option in
            WHERE)
                [[ $value == '~/'* ]] && value=$HOME/${value[3,-1]}
                where+=("$option=$value")
                ;;
        esac
    done
    peers=(${(f)"$(ensemble peers --words $where 2>/dev/null)"})
    compadd -a peers
}
""".replace("WHERE", _CASES)
_FISH_PEERS: Final = r"""
function __ensemble_peers
    set -l words (commandline -opc)
    set -l where
    while set -q words[1]
        set -l option (string split -m 1 = -- $words[1])
        if contains -- $option[1] WHERE
            if not set -q option[2]
                set -e words[1]
                set -q words[1]; or break
                set option[2] $words[1]
            end
            set -a where $option[1]=(string replace -r '^~/' $HOME/ -- $option[2])
        end
        set -e words[1]
    end
    ensemble peers --words $where 2>/dev/null
end
""".replace("WHERE", " ".join(_WHERE))


@frozen
class Value:
    """
    What an option or a place on the command line takes.

    :ivar kind: its metavar.
    :ivar choices: where there are only these.
    """

    kind: str
    choices: tuple[str, ...] = ()


@frozen
class Option:
    """One option: its names, and its value where it takes one."""

    names: tuple[str, ...]
    help: str
    value: Value | None
    repeats: bool


@frozen
class Command:
    """One subcommand."""

    name: str
    help: str
    options: tuple[Option, ...]
    places: tuple[Value, ...]


def completion(here: Here, parser: argparse.ArgumentParser) -> int:
    """``completion``."""
    script = {"bash": bash, "zsh": zsh, "fish": fish}[here.options.shell](parser)
    if here.screen.json:
        here.screen.document({"ok": True, "shell": here.options.shell, "script": script})
    else:
        here.screen.raw(script)
    return OK


def commands_of(parser: argparse.ArgumentParser) -> list[Command]:
    """Every subcommand.  argparse shows what it holds by no other way than its ``_actions``."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, each in action.choices.items():
                found.append(Command(name, helps.get(name, ""), options_of(each), _places(each)))
    return found


def options_of(parser: argparse.ArgumentParser) -> tuple[Option, ...]:
    """The options of one parser, without those of its subcommands."""
    return tuple(
        Option(
            tuple(action.option_strings),
            action.help or "",
            None if action.nargs == 0 else _value(action),
            isinstance(action, argparse._AppendAction),
        )
        for action in parser._actions
        if action.option_strings
    )


def bash(parser: argparse.ArgumentParser) -> str:
    """For bash, with nothing but itself."""
    commands = commands_of(parser)
    first = " ".join([*(command.name for command in commands), *_names(options_of(parser))])
    values = sorted(
        {
            (f"{command.name}:{name}", _bash_place(option.value) or "return")
            for command in commands
            for option in command.options
            if option.value is not None
            for name in option.names
        }
    )
    places = [
        (f"{command.name}:{at}", action)
        for command in commands
        for at, place in enumerate(command.places)
        if (action := _bash_place(place))
    ]
    return f"""\
# Completion of ensemble for bash:  eval "$(ensemble completion bash)"
_ensemble_words() {{
    COMPREPLY=($(compgen -W "$1" -- "$word"))
}}
_ensemble_files() {{
    local IFS=$'\\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$1" -- "$word"))
}}
{_BASH_PEERS.strip()}
_ensemble() {{
    local word=${{COMP_WORDS[COMP_CWORD]}}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _ensemble_words "{first}"
        return
    fi
    case ${{COMP_WORDS[1]}}:${{COMP_WORDS[COMP_CWORD-1]}} in
{_cases((pattern, f"{action}; return" if action != "return" else action) for pattern, action in values)}
    esac
    if [[ $word == -?* ]]; then
        case ${{COMP_WORDS[1]}} in
{_cases((command.name, f'_ensemble_words "{" ".join(_names(command.options))}"') for command in commands)}
        esac
        return
    fi
    local at place=0
    for ((at = 2; at < COMP_CWORD; at++)); do
        case ${{COMP_WORDS[at]}} in
            {"|".join(_valued(commands))}) [[ ${{COMP_WORDS[++at]}} == = ]] && ((at++)) ;;
            -?*) ;;
            *) ((place++)) ;;
        esac
    done
    case ${{COMP_WORDS[1]}}:$place in
{_cases(places)}
    esac
}}
complete -F _ensemble ensemble
"""


def zsh(parser: argparse.ArgumentParser) -> str:
    """For zsh; also as a file ``_ensemble`` in its ``fpath``."""
    commands = commands_of(parser)
    described = "\n".join(
        f"                {shlex.quote(command.name + ':' + command.help.replace(':', ' '))}" for command in commands
    )
    bodies = "\n".join(
        f"                {command.name})\n                    _arguments \\\n                        "
        + " \\\n                        ".join([*map(_zsh_option, command.options), *map(_zsh_place, command.places)])
        + "\n                    ;;"
        for command in commands
    )
    own = " ".join(map(_zsh_option, options_of(parser)))
    return f"""\
#compdef ensemble
# Completion of ensemble for zsh:  eval "$(ensemble completion zsh)", behind compinit
{_ZSH_PEERS.strip()}
_ensemble() {{
    local context state state_descr line
    typeset -A opt_args
    _arguments -C {own} '1:command:->command' '*::argument:->argument'
    case $state in
        command)
            local -a commands
            commands=(
{described}
            )
            _describe command commands
            ;;
        argument)
            case $line[1] in
{bodies}
            esac
            ;;
    esac
}}
if [[ $funcstack[1] == _ensemble ]]; then
    _ensemble "$@"
else
    compdef _ensemble ensemble
fi
"""


def fish(parser: argparse.ArgumentParser) -> str:
    """For fish."""
    commands = commands_of(parser)
    lines = [
        "# Completion of ensemble for fish:  ensemble completion fish | source",
        "function __ensemble_first_place",
        "    set -l words (commandline -opc)",
        "    set -e words[1..2]",
        "    while set -q words[1]",
        "        switch $words[1]",
        f"            case {' '.join(_valued(commands))}",
        "                set -e words[1]",
        "            case '-*'",
        "            case '*'",
        "                return 1",
        "        end",
        "        set -e words[1]",
        "    end",
        "    return 0",
        "end",
        _FISH_PEERS.strip(),
        "complete -c ensemble -f",
        *(_fish("__fish_use_subcommand", option) for option in options_of(parser)),
    ]
    for command in commands:
        lines.append(f"complete -c ensemble -n __fish_use_subcommand -a {command.name} -d {_fish_quote(command.help)}")
        seen = f"__fish_seen_subcommand_from {command.name}"
        lines += [_fish(seen, option) for option in command.options]
        for place in command.places[:1]:
            if words := _fish_words(place):
                first = _fish_quote(f"{seen}; and __ensemble_first_place")
                lines.append(f"complete -c ensemble -n {first} -a {words}")
    return "\n".join(lines) + "\n"


_BASH: Final = {
    "FILE": "_ensemble_files -f",
    "PATH": "_ensemble_files -f",
    "DIR": "_ensemble_files -d",
    "PEER": "_ensemble_peers",
    "CHI": f'_ensemble_words "{" ".join(chi.value for chi in Chi)}"',
}


def _value(action: argparse.Action) -> Value:
    choices = tuple(str(choice) for choice in action.choices) if action.choices is not None else ()
    kind = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return Value(kind, tuple(chi.value for chi in Chi) if kind == "CHI" else choices)


def _places(parser: argparse.ArgumentParser) -> tuple[Value, ...]:
    return tuple(_value(action) for action in parser._actions if not action.option_strings)


def _valued(commands: Iterable[Command]) -> list[str]:
    """The options behind which a word is their value; none is without one in another command."""
    return sorted({name for each in commands for option in each.options if option.value for name in option.names})


def _names(options: tuple[Option, ...]) -> list[str]:
    return [name for option in options for name in option.names if name.startswith("--")]


def _cases(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"        {pattern}) {action} ;;" for pattern, action in pairs)


def _bash_place(place: Value) -> str:
    if place.choices:
        return f'_ensemble_words "{" ".join(place.choices)}"'
    return _BASH.get(place.kind, "")


def _zsh_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _zsh_value(value: Value) -> str:
    if value.choices:
        return f"({' '.join(value.choices)})"
    return {"FILE": "_files", "PATH": "_files", "DIR": "_files -/", "PEER": "_ensemble_peers"}.get(value.kind, " ")


def _zsh_option(option: Option) -> str:
    once = "*" if option.repeats else f"({' '.join(option.names)})"
    after = "" if option.value is None else f":{option.value.kind.lower()}:{_zsh_value(option.value)}"
    return " ".join(shlex.quote(f"{once}{name}[{_zsh_text(option.help)}]{after}") for name in option.names)


def _zsh_place(place: Value) -> str:
    return shlex.quote(f":{place.kind.lower()}:{_zsh_value(place)}")


def _fish(condition: str, option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = "" if option.value is None else f" {_fish_value(option.value)}"
    return f"complete -c ensemble -n {_fish_quote(condition)} {names}{value} -d {_fish_quote(option.help)}"


def _fish_value(value: Value) -> str:
    if value.kind in ("FILE", "PATH"):
        return "-rF"
    words = _fish_words(value)
    return f"-xa {words}" if words else "-x"


def _fish_words(value: Value) -> str:
    if value.choices:
        return _fish_quote(" ".join(value.choices))
    return {"DIR": "'(__fish_complete_directories)'", "PEER": "'(__ensemble_peers)'"}.get(value.kind, "")


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""completion: scripts that teach shells pykvctl's commands and flags."""

import click

from pykvctl.errors import CommandError
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import command
from pykvctl.session import Session

# Each script asks the program itself (see pykvctl/completing.py), so that it never lags behind.
_BASH = """\
# bash completion for pykvctl; to load it: source <(pykvctl completion bash)
_pykvctl() {
    local line candidate IFS=$'\\n'
    COMPREPLY=()
    # "=" and ":" split words in bash; the program wants them whole.
    local words cword cur
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n =: cur words cword
    else
        words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${COMP_WORDS[COMP_CWORD]}
    fi
    for line in $("${words[0]}" __complete "${words[@]:1:cword-1}" "$cur" 2>/dev/null); do
        candidate=${line%%$'\\t'*}
        COMPREPLY+=("$candidate")
    done
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$cur"
    fi
}
complete -o default -F _pykvctl pykvctl
"""
_ZSH = """\
#compdef pykvctl
# zsh completion for pykvctl; to load it: source <(pykvctl completion zsh)
_pykvctl() {
    local -a described
    local line
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        described+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done
    if (( ${#described} )); then
        _describe 'pykvctl' described
    else
        _files
    fi
}
compdef _pykvctl pykvctl
"""
_FISH = """\
# fish completion for pykvctl; to load it: pykvctl completion fish | source
function __pykvctl_complete
    set -l words (commandline -opc)
    $words[1] __complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c pykvctl -f -a '(__pykvctl_complete)'
"""
_POWERSHELL = """\
# PowerShell completion for pykvctl; to load it: pykvctl completion powershell | Out-String | iex
Register-ArgumentCompleter -Native -CommandName pykvctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($wordToComplete -ne '') { $words = @($words | Select-Object -SkipLast 1) }
    & pykvctl __complete @words "$wordToComplete" 2>$null | ForEach-Object {
        $text, $summary = $_ -split "`t", 2
        if (-not $summary) { $summary = $text }
        [System.Management.Automation.CompletionResult]::new(
            $text, $text, 'ParameterValue', $summary)
    }
}
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "powershell": _POWERSHELL}


@command(
    "completion",
    usage="completion [bash|zsh|fish|powershell]",
    short_help="Generate completion script",
    help="Example: source <(pykvctl completion bash)",
)
@click.pass_obj
def completion(session: Session, args: list[str]) -> None:
    """Print the script for a shell."""
    if len(args) != 1:
        raise CommandError(f"accepts 1 arg(s), received {len(args)}")
    if args[0] not in SCRIPTS:
        raise CommandError(f'invalid argument {quote(args[0])} for "pykvctl completion"')
    session.streams.write(SCRIPTS[args[0]].encode())

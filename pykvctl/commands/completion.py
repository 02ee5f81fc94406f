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
    local rest=${COMP_LINE:0:COMP_POINT} word words=() last=-1
    # "=" and ":" split words in bash; what stands close together is one word for the program.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ $last -lt 0 || $rest == [[:blank:]]* ]]; then
            rest=${rest#"${rest%%[![:blank:]]*}"}
            last=$((last + 1))
        fi
        words[last]=${words[last]}${rest:0:${#word}}
        rest=${rest:${#word}}
    done
    # readline replaces only what follows the last of them.
    local current=${words[last]} breaks=${COMP_WORDBREAKS//[^=:]/} line candidate tail
    tail=$current
    [[ -z $breaks ]] || tail=${current##*[$breaks]}
    COMPREPLY=()
    while IFS= read -r line; do
        candidate=${line%%$'\\t'*}
        case $candidate in
            :files) compopt -o default 2>/dev/null ;;
            :directories) compopt -o dirnames 2>/dev/null ;;
            *) COMPREPLY+=("${candidate#"${current%"$tail"}"}") ;;
        esac
    done < <("${words[0]/#\\~/$HOME}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _pykvctl pykvctl
"""
_ZSH = """\
#compdef pykvctl
# zsh completion for pykvctl; to load it, after compinit: source <(pykvctl completion zsh)
_pykvctl() {
    local -a described
    local line
    for line in "${(@f)$("${(Q)~words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        case ${line%%$'\\t'*} in
            '') ;;
            :files) compset -P '--*='; _files; return ;;
            :directories) compset -P '--*='; _files -/; return ;;
            *) described+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
        esac
    done
    _describe 'pykvctl' described
}
# A file of the function path is run for the first completion.
if [[ ${funcstack[1]} == _pykvctl ]]; then
    _pykvctl
else
    compdef _pykvctl pykvctl
fi
"""
_FISH = """\
# fish completion for pykvctl; to load it: pykvctl completion fish | source
function __pykvctl_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l lines ($words[1] __complete $words[2..-1] $last 2>/dev/null)
    set -l flag (string match -r -- '^--[^=]*=' $last)
    set -l path (string replace -r -- '^--[^=]*=' '' $last)
    switch (string replace -r '\\t.*' '' -- $lines[1])
        case :files
            __fish_complete_path $path | string replace -r -- '^' "$flag"
        case :directories
            __fish_complete_directories $path | string replace -r -- '^' "$flag"
        case '*'
            printf '%s\\n' $lines
    end
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
        # Without an answer PowerShell proposes files.
        if ($_ -like ':*') { return }
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

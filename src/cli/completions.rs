//! `hub completions`: scripts for shells, which also know the servers of hub.toml.
//!
//! In: a shell. Out: a script for it; for these scripts, the names of all servers. Owns nothing. May not: ask the daemon, or
//! say anything on stderr while somebody types.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::platform::dirs::Dirs;

use super::args::Args;
use super::edit;
use super::failure::Failure;
use super::out::Out;

/// Verbs whose first argument is a server.
pub(super) const OF_A_SERVER: [&str; 8] =
    ["call", "connect", "disable", "enable", "logs", "remove", "restart", "tools"];

/// What stands behind clap's script: its function is asked first, and the names are added.
const BASH: &str = r#"
_hub_servers() {
    local at=1 verb=
    while [[ $at -lt $COMP_CWORD ]]; do
        case "${COMP_WORDS[at]}" in
            --config) at=$((at + 1)) ;;
            -*) ;;
            *) verb="${COMP_WORDS[at]}"; break ;;
        esac
        at=$((at + 1))
    done
    _hub "$@"
    case " VERBS " in
        *" $verb "*)
            if [[ -n "$verb" && "${COMP_WORDS[COMP_CWORD]}" != -* && $COMP_CWORD -eq $((at + 1)) ]]; then
                COMPREPLY=( $(compgen -W "$("${COMP_WORDS[0]}" server-names 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}") )
            fi
            ;;
    esac
}
complete -F _hub_servers -o bashdefault -o default hub
"#;

const ZSH: &str = r#"
_hub_servers() {
    local -a names
    names=(${(f)"$(_call_program servers hub server-names 2>/dev/null)"})
    _describe -t servers server names
}
"#;

const FISH: &str = r#"
complete -c hub -n "__fish_seen_subcommand_from VERBS; and test (count (commandline -opc)) -eq 2" -f -a "(hub server-names 2>/dev/null)" -d Server
"#;

pub(super) fn run(shell: Shell, out: &Out) -> Result<(), Failure> {
    out.bytes(script(shell).as_bytes())
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hub", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let verbs = OF_A_SERVER.join(" ");
    match shell {
        // clap lists hidden verbs there as well.
        Shell::Bash => script.replace(" server-names ", " ") + &BASH.replace("VERBS", &verbs),
        Shell::Fish => script + &FISH.replace("VERBS", &verbs),
        Shell::Zsh => {
            // clap writes `_default`, files, for any argument that it knows nothing of.
            let lines = script.split_inclusive('\n').map(|line| {
                let is_server = line.starts_with("':") && line.contains(" The server");
                let is_server = is_server || (line.starts_with("'::") && line.contains("nly this server"));
                if is_server { line.replace(":_default'", ":_hub_servers'") } else { line.to_owned() }
            });
            let script: String = lines.collect();
            script.replacen("\n_hub() {", &format!("{ZSH}\n_hub() {{"), 1)
        }
        _ => script,
    }
}

/// `hub server-names`: one in each line, and nothing at all when hub.toml cannot be read.
pub(super) fn names(dirs: &Dirs, out: &Out) -> Result<(), Failure> {
    let Some(text) = edit::read(&dirs.config_file).ok().flatten() else { return Ok(()) };
    let config = edit::judge(&text, &dirs.config_file).config;
    config.iter().flat_map(|config| &config.servers).try_for_each(|server| out.line(server.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_knows_all_verbs_and_servers() {
        let command = Args::command();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
            assert!(script.contains("hub server-names") || script.contains("\" server-names"), "{shell}");
        }
        for verb in OF_A_SERVER {
            let verb = command.find_subcommand(verb).unwrap_or_else(|| panic!("{verb} is a verb"));
            let first = verb.get_positionals().next().expect("an argument");
            assert!(["name", "server"].contains(&first.get_id().as_str()), "{verb:?}");
        }
        let zsh = script(Shell::Zsh);
        assert_eq!(zsh.matches(":_hub_servers' \\").count(), OF_A_SERVER.len(), "{zsh}");
    }

    #[test]
    fn help_of_every_verb_shows_how() {
        for verb in Args::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains("Examples:") && help.contains(&format!("hub {}", verb.get_name())),
                "{}",
                verb.get_name()
            );
            assert!(verb.get_about().is_some());
            for line in help.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }
}

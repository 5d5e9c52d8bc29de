//! Whether a running command line is that of a server, in the forms that package runners give it. PURE.
//!
//! In: a command with its arguments, the words of a process. Out: yes or no. Owns a table of runners. May not: take two
//! that differ in an argument for the same; what is not understood is not the same.
//!
//! What `ps` shows of `npx -y PKG ARG`: `npm exec PKG ARG` as one word (npm writes it over its arguments), below it
//! `sh -c BIN ARG` and `node …/node_modules/.bin/BIN ARG`. Of `uvx PKG ARG`: `uv tool uvx PKG ARG`, below it
//! `…/python …/bin/TOOL ARG`. Of a script: its interpreter, its path, its arguments.

use std::path::Path;

/// Switches of `npx` and `npm exec` that say nothing of what runs.
const NPX_SWITCHES: &[&str] = &[
    "-y",
    "--yes",
    "-n",
    "--no",
    "--no-install",
    "-q",
    "--quiet",
    "-s",
    "--silent",
    "--prefer-offline",
    "--prefer-online",
    "--offline",
];
/// Options of them with a value that says nothing of it either.
const NPX_OPTIONS: &[&str] = &["--registry", "--cache", "--userconfig", "--loglevel"];
/// Switches of `uvx` that say nothing of what runs.
const UVX_SWITCHES: &[&str] = &["-q", "--quiet", "--isolated", "--offline", "--refresh", "-U", "--upgrade"];
/// Options of it with a value.
const UVX_OPTIONS: &[&str] = &[
    "--python",
    "-p",
    "--with",
    "--index-url",
    "-i",
    "--index",
    "--extra-index-url",
    "--cache-dir",
    "--default-index",
];
/// Programs that read a script.
const INTERPRETERS: &[&str] =
    &["node", "nodejs", "bun", "deno", "python", "ruby", "perl", "php", "sh", "bash", "dash", "zsh", "ksh"];
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "fish"];
/// What a shell would not pass on as it is.
const SHELL_SIGNS: &[char] =
    &[';', '&', '|', '<', '>', '$', '`', '"', '\'', '\\', '(', ')', '{', '}', '*', '?', '[', '~', '#', '!', '\n'];
/// Commands in commands; deeper ones are nobody's.
const DEPTH_MAX: usize = 3;

/// Whether a process with these words is, or was turned into, this command. `package_of` tells which package of npm a
/// path in `node_modules/.bin` leads into.
pub(super) fn is_same(
    command: &str,
    args: &[String],
    words: &[String],
    package_of: &dyn Fn(&Path) -> Option<String>,
) -> bool {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Judge { words: &words, package_of }.is(command, &args, DEPTH_MAX)
}

/// Whether a process only stands between a client and a server: a runner, or a shell with something to run.
pub(super) fn is_between(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((program, args)) = words.split_first() else { return false };
    match name(program) {
        _ if runs_packages(&words) => true,
        // One that a person types into has no command; `-bash` is a login shell.
        shell if SHELLS.contains(&shell) => {
            args.iter().any(|arg| is_code(arg)) || args.first().is_some_and(|arg| !arg.starts_with('-'))
        }
        "env" | "timeout" | "nice" | "nohup" | "setsid" | "stdbuf" | "disclaimer" => true,
        _ => false,
    }
}

/// Whether a process runs what a package has: which one and in which version, only its own words tell, not those of what
/// is below it.
pub(super) fn is_runner(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    runs_packages(&words)
}

fn runs_packages(words: &[&str]) -> bool {
    let Some((program, args)) = words.split_first() else { return false };
    if ["npm exec", "npm run", "npm x", "npx", "npm start"].iter().any(|title| begins(program, title)) {
        return true;
    }
    match name(program) {
        "npx" | "bunx" | "uvx" | "uv" | "pnpx" => true,
        "bun" => args.first() == Some(&"x"),
        _ => {
            let runners = ["npx", "npm", "npx-cli.js", "npm-cli.js", "pnpm", "pnpx", "pnpm.cjs", "yarn", "pipx"];
            script(words).is_some_and(|(script, _)| runners.contains(&name(script)))
        }
    }
}

/// The script that an interpreter runs: a telling name for a process.
pub(super) fn script_of(words: &[String]) -> Option<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    script(&words).map(|(script, _)| name(script).to_owned())
}

struct Judge<'w> {
    words: &'w [&'w str],
    package_of: &'w dyn Fn(&Path) -> Option<String>,
}

impl Judge<'_> {
    fn is(&self, command: &str, args: &[&str], depth: usize) -> bool {
        if depth == 0 {
            return false;
        }
        let Some((program, rest)) = self.words.split_first() else { return false };
        let as_it_is = is_program(command, program) && rest == args;
        let interpreted = || script(self.words).is_some_and(|(path, rest)| is_program(command, path) && rest == args);
        let inside = || within(command, args).is_some_and(|inner| self.is(inner[0], &inner[1..], depth - 1));
        as_it_is || interpreted() || self.is_run(command, args) || inside()
    }

    /// As runners show what they run.
    fn is_run(&self, command: &str, args: &[&str]) -> bool {
        let Some(runner) = Runner::of(command) else { return false };
        let Some(run) = runner.read(args) else { return false };
        let title = || self.words.len() == 1 && runner.is_npm() && run.title() == self.words[0];
        let uv = || {
            let [program, "tool", "uvx", rest @ ..] = self.words else { return false };
            runner == Runner::Uvx && name(program) == "uv" && rest == args
        };
        title() || uv() || self.is_installed(runner, &run)
    }

    /// The program of a package, started by what a runner has unpacked.
    fn is_installed(&self, runner: Runner, run: &Run<'_>) -> bool {
        let itself = self.words.split_first().map(|(program, rest)| (*program, rest));
        let programs = [script(self.words), itself.filter(|(program, _)| program.contains('/'))];
        programs.into_iter().flatten().any(|(path, rest)| rest == run.args && self.is_of(runner, run, path))
    }

    fn is_of(&self, runner: Runner, run: &Run<'_>, path: &str) -> bool {
        let file = name(path);
        if runner == Runner::Uvx {
            let is_unpacked = path.split('/').any(|part| part == "uv" || part.starts_with("archive-v"));
            return is_unpacked && python_name(file) == python_name(run.wanted());
        }
        match (run.program, (self.package_of)(Path::new(path))) {
            (_, None) => false,
            (Some(program), Some(_)) => file == program,
            (None, Some(package)) => npm_name(run.package) == package,
        }
    }
}

/// A program that fetches a package and runs what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    Npx,
    NpmExec,
    Bunx,
    Uvx,
}

/// What a runner is told to run.
#[derive(Debug, PartialEq, Eq)]
struct Run<'a> {
    package: &'a str,
    /// The program in it, if it is named apart.
    program: Option<&'a str>,
    args: &'a [&'a str],
}

impl Runner {
    fn of(command: &str) -> Option<Self> {
        match name(command) {
            "npx" => Some(Self::Npx),
            "npm" => Some(Self::NpmExec),
            "bunx" => Some(Self::Bunx),
            "uvx" => Some(Self::Uvx),
            _ => None,
        }
    }

    fn is_npm(self) -> bool {
        matches!(self, Self::Npx | Self::NpmExec)
    }

    /// Reads the words behind it; none if there is one that is not known.
    fn read<'a>(self, args: &'a [&'a str]) -> Option<Run<'a>> {
        let args = match (self, args) {
            (Self::NpmExec, ["exec" | "x", rest @ ..]) => rest,
            (Self::NpmExec, _) => return None,
            (_, args) => args,
        };
        let (switches, options, from) = match self {
            Self::Uvx => (UVX_SWITCHES, UVX_OPTIONS, &["--from"][..]),
            Self::Npx | Self::NpmExec | Self::Bunx => (NPX_SWITCHES, NPX_OPTIONS, &["-p", "--package"][..]),
        };
        let (mut at, mut package) = (0, None);
        while let Some(arg) = args.get(at) {
            let (option, value) = arg.split_once('=').map_or((*arg, None), |(option, value)| (option, Some(value)));
            match option {
                "--" => {
                    at += 1;
                    break;
                }
                _ if !arg.starts_with('-') => break,
                _ if switches.contains(&option) => at += 1,
                _ if options.contains(&option) || from.contains(&option) => {
                    let apart = if value.is_none() { args.get(at + 1).copied() } else { value };
                    if from.contains(&option) && package.replace(apart?).is_some() {
                        // Two packages: which one has the program cannot be told.
                        return None;
                    }
                    at += if value.is_none() { 2 } else { 1 };
                }
                _ => return None,
            }
        }
        let (first, args) = args.get(at..)?.split_first()?;
        Some(match package {
            Some(package) => Run { package, program: Some(first), args },
            None => Run { package: first, program: None, args },
        })
    }
}

impl<'a> Run<'a> {
    /// What is looked for: the program, which is called as its package is unless it is named.
    fn wanted(&self) -> &'a str {
        self.program.unwrap_or(self.package)
    }

    /// What npm writes over its command line.
    fn title(&self) -> String {
        let words: Vec<&str> = ["npm", "exec", self.wanted()].into_iter().chain(self.args.iter().copied()).collect();
        words.join(" ").trim().to_owned()
    }
}

/// The last part of a path.
fn name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn begins(text: &str, start: &str) -> bool {
    text.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// Is it this program? Two paths must be the same one; where one is only a name, it must be its.
fn is_program(wanted: &str, found: &str) -> bool {
    wanted == found
        || (name(wanted) == name(found) && !name(wanted).is_empty() && wanted.contains('/') != found.contains('/'))
}

/// The script that an interpreter runs, and what follows it. By its path: that is what the first line of a script, or a
/// link in a PATH, gives it.
fn script<'w>(words: &'w [&'w str]) -> Option<(&'w str, &'w [&'w str])> {
    let (program, args) = words.split_first()?;
    let interpreter = name(program).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&interpreter) {
        return None;
    }
    let at = args.iter().position(|arg| !arg.starts_with('-'))?;
    args[at].contains('/').then(|| (args[at], &args[at + 1..]))
}

/// The command in a command that makes way for it: `env A=B CMD`, `sh -c CMD`.
fn within<'a>(command: &str, args: &[&'a str]) -> Option<Vec<&'a str>> {
    let inner: Vec<&str> = match (name(command), args) {
        ("env", args) => args.iter().copied().skip_while(|arg| is_variable(arg)).collect(),
        (shell, [code, script]) if SHELLS.contains(&shell) && is_code(code) && !script.contains(SHELL_SIGNS) => {
            let words: Vec<&str> = script.split_whitespace().collect();
            words.strip_prefix(&["exec"]).unwrap_or(&words).to_vec()
        }
        ("mise", ["x" | "exec", rest @ ..]) => rest.iter().copied().skip_while(|arg| *arg != "--").skip(1).collect(),
        _ => return None,
    };
    inner.first().is_some_and(|first| !first.starts_with('-') && !is_variable(first)).then_some(inner)
}

fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// `-c`, `-lc`, `-ic`: what follows is a script.
fn is_code(arg: &str) -> bool {
    arg.strip_prefix('-')
        .is_some_and(|letters| letters.ends_with('c') && letters.chars().all(|c| c.is_ascii_lowercase()))
}

/// `@scope/name@1.2` without its version.
fn npm_name(package: &str) -> &str {
    let from = usize::from(package.starts_with('@'));
    package[from..].find('@').map_or(package, |at| &package[..from + at])
}

/// `Some_Tool[extra]==1.2` as Python compares names.
fn python_name(package: &str) -> String {
    let end = package.find(['[', '=', '@', '<', '>', '~', '!', ' ']).unwrap_or(package.len());
    package[..end].to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words with a blank between them; with `'` where one of them holds blanks; `=` begins a title, which is one word.
    fn words(line: &str) -> Vec<String> {
        if let Some(title) = line.strip_prefix('=') {
            return vec![title.to_owned()];
        }
        let separator = if line.contains('\'') { '\'' } else { ' ' };
        line.split(separator).map(str::to_owned).collect()
    }

    fn same(spec: &str, running: &str) -> bool {
        let spec = words(spec);
        let package_of = |path: &Path| match path.file_name()?.to_str()? {
            "mcp-server-everything" if path.to_str()?.contains("/.bin/") => {
                Some("@modelcontextprotocol/server-everything".to_owned())
            }
            _ => None,
        };
        is_same(&spec[0], &spec[1..], &words(running), &package_of)
    }

    const NPX: &str = "npx -y @modelcontextprotocol/server-everything@2025.9.25 stdio";

    #[test]
    fn the_forms_of_one_command() {
        for (spec, running) in [
            ("github-mcp-server stdio", "github-mcp-server stdio"),
            ("github-mcp-server stdio", "/usr/local/bin/github-mcp-server stdio"),
            ("/opt/x/server --db a", "/opt/x/server --db a"),
            ("/opt/x/server.py --db a", "/usr/bin/python3.12 -u /opt/x/server.py --db a"),
            ("mcp-tool serve", "/home/u/.venv/bin/python3 /home/u/.local/bin/mcp-tool serve"),
            ("docker run -i --rm mcp/time", "/usr/bin/docker run -i --rm mcp/time"),
            (NPX, "node /usr/bin/npx -y @modelcontextprotocol/server-everything@2025.9.25 stdio"),
            (NPX, "=npm exec @modelcontextprotocol/server-everything@2025.9.25 stdio"),
            (NPX, "node /home/u/.npm/_npx/18/node_modules/.bin/mcp-server-everything stdio"),
            ("npx --yes --prefer-offline pkg", "=npm exec pkg"),
            ("npx -y --registry=https://r/ pkg -y --flag", "=npm exec pkg -y --flag"),
            ("npx -y -- pkg a", "=npm exec pkg a"),
            ("npm exec -y pkg a", "=npm exec pkg a"),
            ("npx -y -p @a/b tool a", "=npm exec tool a"),
            ("npx -y --package=@a/b mcp-server-everything", "node /x/node_modules/.bin/mcp-server-everything"),
            ("uvx mcp-server-fetch --x", "/home/u/.local/bin/uv tool uvx mcp-server-fetch --x"),
            ("uvx mcp-server-fetch --x", "uvx mcp-server-fetch --x"),
            (
                "uvx mcp-server-fetch@1.2 --x",
                "/c/uv/archive-v0/a/bin/python /c/uv/archive-v0/a/bin/mcp-server-fetch --x",
            ),
            (
                "uvx --from git+https://x/y tool",
                "/home/u/.cache/uv/archive-v0/a/bin/python /home/u/.cache/uv/archive-v0/a/bin/tool",
            ),
            ("bunx -y pkg a", "bunx -y pkg a"),
            ("env A=1 B=2 npx -y pkg", "=npm exec pkg"),
            ("bash'-lc'exec npx -y pkg a", "=npm exec pkg a"),
            ("bash'-lc'exec npx -y pkg a", "bash'-lc'exec npx -y pkg a"),
            ("mise x node@20 -- npx -y pkg", "=npm exec pkg"),
        ] {
            assert!(same(spec, running), "{spec} | {running}");
        }
    }

    #[test]
    fn what_differs_is_another() {
        for (spec, running) in [
            ("server --db a", "server --db b"),
            ("server --db a", "server --db a --more"),
            ("server --db a", "server"),
            ("/opt/x/server", "/opt/y/server"),
            ("server", "vim /bin/server"),
            ("server", "node -e server"),
            (NPX, "=npm exec @modelcontextprotocol/server-everything@2025.9.25"),
            (NPX, "=npm exec @modelcontextprotocol/server-everything stdio"),
            (NPX, "node /home/u/.npm/_npx/18/node_modules/.bin/mcp-server-everything sse"),
            (NPX, "node /home/u/project/dist/mcp-server-everything stdio"),
            ("npx -y @other/server-everything stdio", "node /x/node_modules/.bin/mcp-server-everything stdio"),
            ("npx --workspace=a pkg", "=npm exec pkg"),
            ("npx -p a -p b tool", "=npm exec tool"),
            ("npm run serve", "=npm exec serve"),
            ("uvx mcp-server-fetch", "/home/u/project/.venv/bin/python /home/u/project/.venv/bin/mcp-server-fetch"),
            ("uvx mcp-server-fetch", "/bin/uv tool uvx mcp-server-fetch --more"),
            ("bash'-lc'cd /x && npx -y pkg", "=npm exec pkg"),
            ("bash'-lc'npx -y \"pkg a\"", "=npm exec pkg a"),
            ("npx -y pkg", "npm exec pkg"),
        ] {
            assert!(!same(spec, running), "{spec} | {running}");
        }
        assert!(!is_same("server", &[], &[], &|_| None));
    }

    #[test]
    fn who_stands_between() {
        for line in [
            "=npm exec pkg a",
            "sh'-c'mcp-server x",
            "bash -lc x",
            "/bin/bash /home/u/start.sh",
            "node /usr/bin/npx -y pkg",
            "/home/u/.local/bin/uv tool uvx x",
            "env A=b x",
            "bun x pkg",
        ] {
            assert!(is_between(&words(line)), "{line}");
        }
        assert!(is_runner(&words("=npm exec pkg a")) && is_runner(&words("node /usr/bin/npx -y pkg")));
        assert!(!is_runner(&words("sh'-c'mcp-server x")) && !is_runner(&words("env A=b x")) && !is_runner(&[]));
        for line in [
            "claude",
            "-bash",
            "/bin/zsh -il",
            "bash",
            "/usr/share/code/code --type=utility",
            "node /x/cli.js",
            "bun run x",
        ] {
            assert!(!is_between(&words(line)), "{line}");
        }
        assert!(!is_between(&[]));
        assert_eq!(script_of(&words("node --no-warnings /usr/bin/gemini -i")).as_deref(), Some("gemini"));
        assert_eq!(script_of(&words("claude --resume /x")), None);
    }
}

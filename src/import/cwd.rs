//! Whether a command means something else in another folder.
//!
//! In: a command line as it is written, and which relative paths exist in the project. Out: the word that depends on the
//! folder. Owns nothing. PURE. May not: be sure. A client starts a server in the project's folder and says so nowhere, so
//! that only the words tell: what is a path, what is looked up upwards from the folder, what is fetched by name.

/// A command line.
#[derive(Debug, Clone, Copy)]
struct Line<'a, 'l> {
    pub command: &'a str,
    pub args: &'l [&'a str],
}

/// Options that name the folder to work in, of all programs below.
const FOLDER_OPTIONS: &[&str] = &[
    "--directory",
    "--project",
    "--project-directory",
    "--prefix",
    "--dir",
    "--cwd",
    "-C",
    "--manifest-path",
    "--root",
];
/// Options of interpreters whose value is not the script.
const OPTIONS_WITH_VALUE: &[&str] =
    &["-r", "--require", "--import", "--loader", "-W", "-X", "--env-file", "--config", "-cp"];
/// Programs that look for their project from the folder upwards.
const PROJECT_PROGRAMS: &[&str] = &[
    "npm", "pnpm", "yarn", "bun", "dotnet", "make", "just", "task", "cargo", "go", "gradle", "mvn", "composer",
    "poetry", "pipenv", "pdm", "rye", "hatch", "bundle", "rails", "rake", "mix",
];
/// Ends of names that only files have.
const SCRIPTS: &[&str] =
    &[".js", ".mjs", ".cjs", ".ts", ".mts", ".py", ".rb", ".php", ".sh", ".jar", ".dll", ".csproj"];
/// Shells in shells; deeper ones are nobody's.
const DEPTH_MAX: usize = 3;

/// What of a server depends on the folder that it is started in: a word of its command line, or the name of a variable.
/// `exists` says whether a relative path is there.
pub fn depends_on_folder<'a>(
    command: &'a str,
    args: &'a [String],
    env: impl IntoIterator<Item = (&'a str, &'a str)>,
    exists: &dyn Fn(&str) -> bool,
) -> Option<&'a str> {
    let args: Vec<&'a str> = args.iter().map(String::as_str).collect();
    let of_env = || env.into_iter().find(|(_, value)| relative_value(value)).map(|(name, _)| name);
    dependent(Line { command, args: &args }, exists).or_else(of_env)
}

/// The word of a command that depends on the folder it is started in.
fn dependent<'a>(line: Line<'a, '_>, exists: &dyn Fn(&str) -> bool) -> Option<&'a str> {
    inspect(line, exists, DEPTH_MAX)
}

/// Whether a variable's value is a relative path (or a list that begins with one).
fn relative_value(value: &str) -> bool {
    value.split([':', ';']).any(explicit)
}

fn inspect<'a>(line: Line<'a, '_>, exists: &dyn Fn(&str) -> bool, depth: usize) -> Option<&'a str> {
    let Line { command, args } = line;
    if depth == 0 {
        return None;
    }
    if command.contains(['/', '\\']) && !is_anchored(command) {
        return Some(command);
    }
    let name = command.rsplit(['/', '\\']).next().unwrap_or(command).to_ascii_lowercase();
    let name = [".exe", ".cmd", ".bat"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match name {
        "bash" | "sh" | "zsh" | "dash" | "fish" => return shell(args, exists, depth),
        "cmd" => return rest(args.iter().position(|arg| arg.eq_ignore_ascii_case("/c")), args, exists, depth),
        "env" => {
            let program = args.iter().position(|arg| !arg.starts_with('-') && !arg.contains('='));
            return rest(program.map(|at| at.wrapping_sub(1)), args, exists, depth);
        }
        _ => {}
    }
    let (verb, verb_at) = first_word(args);
    let is_interpreter =
        matches!(name, "node" | "nodejs" | "deno" | "ruby" | "php" | "perl" | "tsx" | "ts-node" | "java")
            || name.starts_with("python");
    let found = match (name, verb) {
        ("npx" | "bunx" | "pnpx" | "uvx" | "pipx", _) => None,
        ("npm" | "pnpm" | "yarn" | "bun", Some("dlx" | "x")) | ("npm", Some("exec")) => None,
        ("uv", Some("tool" | "x")) => None,
        ("uv", Some("run")) => uv_run(args, verb_at),
        ("docker" | "podman", Some("compose")) => project(command, args, &["-f", "--file", "--project-directory"]),
        ("docker" | "podman", _) => return args.iter().copied().find(|arg| options(arg).any(explicit)),
        ("docker-compose", _) => project(command, args, &["-f", "--file", "--project-directory"]),
        ("bun", Some(word)) if is_script(word) => script(args),
        ("deno", Some("run")) => script(&args[verb_at + 1..]),
        ("dotnet", Some(word)) if is_script(word) => script(args),
        (name, _) if PROJECT_PROGRAMS.contains(&name) => project(command, args, FOLDER_OPTIONS),
        _ if is_interpreter => interpreted(args, exists),
        _ => args.iter().copied().find(|arg| is_script(arg) && !is_anchored(arg)),
    };
    // The name of a package or an image may be that of a folder too.
    let named = if matches!(name, "npx" | "bunx" | "pnpx" | "uvx" | "pipx") { verb } else { None };
    let there = |arg: &&str| options(arg).any(|part| explicit(part) || (is_path(part) && exists(part)));
    found.or_else(|| args.iter().copied().find(|arg| Some(*arg) != named && there(arg)))
}

/// `bash -lc "exec npx …"`: the words of the script are a command of their own.
fn shell<'a>(args: &[&'a str], exists: &dyn Fn(&str) -> bool, depth: usize) -> Option<&'a str> {
    let code = args.iter().position(|arg| arg.starts_with('-') && !arg.starts_with("--") && arg.ends_with('c'));
    let Some(code) = code.and_then(|at| args.get(at + 1)) else {
        return script(args);
    };
    let words: Vec<&'a str> =
        code.split([' ', '\t', '\n', ';', '&', '|', '"', '\'']).filter(|word| !word.is_empty()).collect();
    let words = words.strip_prefix(&["exec"]).unwrap_or(&words);
    match words {
        // What follows is relative to a folder that is named.
        ["cd", folder, ..] if is_anchored(folder) => None,
        [command, args @ ..] => inspect(Line { command, args }, exists, depth - 1),
        [] => None,
    }
}

/// The command that follows the argument at `before` (the first one, when that is just before the list).
fn rest<'a>(before: Option<usize>, args: &[&'a str], exists: &dyn Fn(&str) -> bool, depth: usize) -> Option<&'a str> {
    let (command, args) = args.get(before?.wrapping_add(1)..)?.split_first()?;
    inspect(Line { command, args }, exists, depth - 1)
}

/// The first argument that is no option, and where it stands. The value of a folder option is none either.
fn first_word<'a>(args: &[&'a str]) -> (Option<&'a str>, usize) {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        if FOLDER_OPTIONS.contains(arg) {
            at += 2;
        } else if arg.starts_with('-') {
            at += 1;
        } else {
            return (Some(arg), at);
        }
    }
    (None, args.len())
}

/// A program that looks for its project from the folder upwards, unless an option names one.
fn project<'a>(command: &'a str, args: &[&'a str], options: &[&str]) -> Option<&'a str> {
    match folder(args, options) {
        Some(folder) if is_anchored(folder) => None,
        Some(folder) => Some(folder),
        None => Some(command),
    }
}

fn folder<'a>(args: &[&'a str], options: &[&str]) -> Option<&'a str> {
    let parted = |arg: &'a str| arg.split_once('=').filter(|(name, _)| options.contains(name)).map(|(_, value)| value);
    args.iter().enumerate().find_map(
        |(at, arg)| {
            if options.contains(arg) { args.get(at + 1).copied() } else { parted(arg) }
        },
    )
}

/// `uv run` looks for a project as well, but not when it is told what to install or which file to run.
fn uv_run<'a>(args: &[&'a str], verb_at: usize) -> Option<&'a str> {
    if let Some(folder) = folder(args, FOLDER_OPTIONS) {
        return (!is_anchored(folder)).then_some(folder);
    }
    let apart = ["--with", "--no-project", "--script", "-s", "--with-requirements", "--with-editable"];
    let words = &args[(verb_at + 1).min(args.len())..];
    let is_apart = words.iter().any(|arg| apart.contains(arg) || arg.starts_with("--with=") || arg.starts_with('/'));
    match words.iter().copied().find(|arg| is_script(arg) && !is_anchored(arg)) {
        Some(script) => Some(script),
        None if is_apart => None,
        None => Some("uv run"),
    }
}

fn interpreted<'a>(args: &[&'a str], exists: &dyn Fn(&str) -> bool) -> Option<&'a str> {
    if let Some(module) = args.iter().position(|arg| *arg == "-m").and_then(|at| args.get(at + 1)) {
        // An installed module as a rule; `-m` also finds those of the folder, and before the others.
        let path = module.replace('.', "/");
        return (exists(&path) || exists(&format!("{path}.py"))).then_some(module);
    }
    script(args)
}

/// The file that an interpreter is given.
fn script<'a>(args: &[&'a str]) -> Option<&'a str> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        if matches!(*arg, "-c" | "-e" | "-p" | "--eval" | "--print") {
            return None;
        }
        at += if OPTIONS_WITH_VALUE.contains(arg) { 2 } else { 1 };
        if !arg.starts_with('-') {
            return (!is_anchored(arg) && !arg.contains(':')).then_some(arg);
        }
    }
    None
}

/// An argument itself, or the value in `--option=value`.
fn options(arg: &str) -> impl Iterator<Item = &str> {
    let value = arg.split_once('=').filter(|(name, _)| name.starts_with('-')).map(|(_, value)| value);
    [Some(value.unwrap_or(arg))]
        .into_iter()
        .flatten()
        .flat_map(|part| [Some(part), part.split_once(':').map(|(a, _)| a)])
        .flatten()
}

/// Written as relative to the folder: `.`, `./x`, `../x`.
fn explicit(text: &str) -> bool {
    matches!(text, "." | "..") || ["./", "../", ".\\", "..\\"].iter().any(|start| text.starts_with(start))
}

fn is_script(text: &str) -> bool {
    SCRIPTS.iter().any(|end| text.ends_with(end)) && !text.contains("://") && !text.starts_with(['-', '@'])
}

/// Could name a file of the folder.
fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['-', '@', '$']) && !is_anchored(text) && !text.contains("://")
}

/// The same from every folder: absolute, of the home folder, of a variable, of a drive.
fn is_anchored(text: &str) -> bool {
    let drive = text.as_bytes();
    text.starts_with(['/', '~', '\\', '%'])
        || text.starts_with("${")
        || (drive.len() > 2 && drive[0].is_ascii_alphabetic() && drive[1] == b':' && matches!(drive[2], b'\\' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        let words: Vec<&str> = text.split(' ').map(|word| word.trim_matches('\'')).collect();
        let there = |path: &str| matches!(path, "src" | "local_module" | "data/x.db");
        dependent(Line { command: words[0], args: &words[1..] }, &there).map(str::to_owned)
    }

    #[test]
    fn what_depends_on_the_folder() {
        for (line, word) in [
            ("node dist/server.js", "dist/server.js"),
            ("node --enable-source-maps index.js", "index.js"),
            ("node --import tsx src/x.ts", "src/x.ts"),
            ("python server.py", "server.py"),
            ("python3 -m local_module", "local_module"),
            ("./bin/server", "./bin/server"),
            (".venv/bin/python -m x", ".venv/bin/python"),
            ("uv run -m x", "uv run"),
            ("uv run my-server", "uv run"),
            ("uv run --with mcp server.py", "server.py"),
            ("uv --directory sub run x", "sub"),
            ("php artisan mcp:serve", "artisan"),
            ("docker compose run --rm x", "docker"),
            ("docker run -v ./data:/data image/x", "./data:/data"),
            ("npm run mcp", "npm"),
            ("npm --prefix tools start", "tools"),
            ("pnpm exec thing", "pnpm"),
            ("bun run src/x.ts", "bun"),
            ("bun server.ts", "server.ts"),
            ("deno run -A server.ts", "server.ts"),
            ("cargo run --bin x", "cargo"),
            ("dotnet run", "dotnet"),
            ("npx -y @scope/server-filesystem .", "."),
            ("npx -y @scope/server-filesystem src", "src"),
            ("npx -y pkg --db=data/x.db", "--db=data/x.db"),
            ("npx -y pkg --db=./any", "--db=./any"),
            ("env A=b node x.js", "x.js"),
            ("cmd /c node x.js", "x.js"),
            ("my-server --config conf.py", "conf.py"),
            ("bash run.sh", "run.sh"),
        ] {
            assert_eq!(of(line).as_deref(), Some(word), "{line}");
        }
        let shell = ["-lc", "exec node dist/x.js"];
        assert_eq!(dependent(Line { command: "bash", args: &shell }, &|_| false), Some("dist/x.js"));
    }

    #[test]
    fn what_does_not() {
        for line in [
            "npx -y @scope/server",
            "npx src",
            "uvx mcp-server-git",
            "uvx --from git+https://example.com/x x",
            "/usr/bin/node /opt/x/index.js",
            "node ~/x/index.js",
            "python -m installed_module",
            "python -c code",
            "uv --directory /abs run x",
            "uv run --directory=/abs x",
            "uv run --with mcp[cli] mcp run /abs/server.py",
            "uv tool run x",
            "docker run -i --rm -e TOKEN ghcr.io/owner/image",
            "docker run -v /data:/data mcp/x",
            "docker compose -f /abs/compose.yml run x",
            "npm --prefix /abs run x",
            "npm exec -y pkg",
            "pnpm dlx pkg",
            "deno run -A jsr:@scope/x",
            "deno run https://example.com/x.ts",
            "my-server --port 1 --name a/b",
            "dotnet /abs/x.dll",
            "cmd /c npx -y pkg",
            "npx -y mcp-remote https://example.com/mcp",
            "java -jar /abs/x.jar",
            "node ${HOME}/x.js",
            "C:\\tools\\x.exe",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
        let shell = ["-l", "-c", "exec npx -y pkg"];
        assert_eq!(dependent(Line { command: "bash", args: &shell }, &|_| false), None);
        let cd = ["-c", "cd /abs && node x.js"];
        assert_eq!(dependent(Line { command: "bash", args: &cd }, &|_| false), None);
    }

    #[test]
    fn values_of_variables() {
        for (value, is) in
            [("./src", true), (".", true), ("/a:./b", true), ("src", false), ("/a", false), ("v1.2", false)]
        {
            assert_eq!(relative_value(value), is, "{value}");
        }
    }
}

//! Secrets in the places where people put them, and harmless words that look a little like them.
//!
//! In: command lines and config files. Out: what is shown of them. Owns nothing. May not: hold a real secret.

use super::*;

fn line(text: &str) -> String {
    let mut words = text.split('|').map(str::to_owned);
    let command = words.next().expect("a command");
    command_line(&command, &words.collect::<Vec<_>>())
}

#[test]
fn secrets_of_a_command_line_are_masked() {
    for (given, shown) in [
        ("npx|-y|x|--token|hunter2", "npx -y x --token ***"),
        ("npx|pkg@1.0|hunter2", "npx pkg@1.0 ***"),
        ("npx|pkg@hunter2", "npx pkg@***"),
        ("npx|-y|@scope/pkg@1.0.0-beta.2", "npx -y @scope/pkg@1.0.0-beta.2"),
        ("npx|--unknown|hunter2|pkg", "npx --unknown *** ***"),
        ("npx|-p|pkg|tool|hunter2", "npx -p pkg tool ***"),
        ("x|--api-key=hunter2", "x --api-key=***"),
        ("x|--access-token|${TOKEN}", "x --access-token ${TOKEN}"),
        ("x|--access-token|${TOKEN:-hunter2}|${TOKEN:-}", "x --access-token *** ${TOKEN:-}"),
        ("x|--header|Authorization: Bearer abc", "x --header ***"),
        ("x|--header|hunter2: Bearer abc", "x --header ***"),
        ("docker|run|-e|GITHUB_TOKEN=abc|img", "docker run -e GITHUB_TOKEN=*** img"),
        ("docker|run|-e|GITHUB_TOKEN|img|hunter2", "docker run -e GITHUB_TOKEN img ***"),
        ("docker|run|-e|hunter2|img", "docker run -e *** img"),
        ("docker|run|--env=A_B=hunter2|img", "docker run --env=*** img"),
        ("docker|run|--unknown|hunter2|img", "docker run --unknown *** ***"),
        ("docker|compose|-f|/x/c.yml|run|--rm|-T|mcp|hunter2", "docker compose -f /x/c.yml run --rm -T mcp ***"),
        ("x|ghp_0123456789abcdef", "x ***"),
        ("x|postgres://me:pw@db.example/x?sslkey=1", "x 'postgres://***@db.example/***?***'"),
        ("x|https://h.example/mcp/0123456789abcdef0123456789abcdef/sse", "x https://h.example/mcp/***/sse"),
        ("x|https://h.example/hunter2/sse", "x https://h.example/***/sse"),
        ("x|--url=https://u:p@h/", "x --url=https://***@h/"),
        (
            "uvx|--from|git+https://me:hunter2@h.example/me/x@v1|tool",
            "uvx --from git+https://***@h.example/me/x@v1 tool",
        ),
        (
            "x|https://h/p?x=a:b@hunter2|otpauth://hunter2|redis://localhost/0",
            "x https://*** otpauth://*** redis://localhost/0",
        ),
        ("node|--env-file=/x|.|hunter2", "node --env-file=/x . ***"),
        ("x|{\"token\":\"abc\"}", "x ***"),
        ("bash|-c|TOKEN=abc exec npx x --key abc", "bash -c 'TOKEN=*** exec npx x --key ***'"),
        ("bash|-lc|cd /srv/app && npx x hunter2; hunter2", "bash -lc 'cd /srv/app && npx x *** ; ***'"),
        ("sh|-c|echo $(cat hunter2)", "sh -c ***"),
        ("sh|-c|x 'a b' \"hunter2", "sh -c ***"),
        ("env|TOKEN=x|npx|pkg|hunter2", "env TOKEN=*** npx pkg ***"),
        ("cmd|/c|npx|-y|pkg|hunter2", "cmd /c npx -y pkg ***"),
        ("cmd|/c|npx -y pkg hunter2", "cmd /c npx -y pkg ***"),
        ("npx -y pkg hunter2", "npx -y pkg ***"),
        ("npm exec @x/y hunter2", "npm exec @x/y ***"),
        (
            "C:\\Program Files\\nodejs\\node.exe|C:\\x y\\index.js|hunter2",
            r"'C:\Program Files\nodejs\node.exe' 'C:\***\index.js' ***",
        ),
        ("python3|-m|mcp_server|hunter2", "python3 -m mcp_server ***"),
        ("python|-c|import hunter2", "python -c ***"),
        ("node|-e|hunter2|x", "node -e *** ***"),
        ("node|hunter2", "node ***"),
        ("node|server.js|hunter2", "node server.js ***"),
        ("curl|-H|X-Api-Key: abc", "curl -H ***"),
        ("x|--header=X-Api-Key:abc", "x --header=***"),
        ("x|--pass|abc", "x --pass ***"),
        ("x|--pass|/abc|--pin|1234|--port|1234", "x --pass *** --pin *** --port 1234"),
        ("x|-p|abc|-k|abc|-H|X-Custom: abc", "x -p *** -k *** -H ***"),
        ("mysql|-pabc|-p=abc|-xyz", "mysql -p*** -p=*** -x***"),
        ("x|Server=db;Password=abc;Pooling=true", "x ***"),
        ("x|postgres://me:a/b@db/x|postgres://me:a#b@db/x", "x postgres://*** postgres://***"),
        ("x|/srv/AbCdEf0123456789xyzw/${HOME}/x", "x '/srv/***/${HOME}/x'"),
        ("x|/srv/x:/y:ro|$HOME/x|/x:hunter2", "x /srv/x:/y:ro $HOME/x /***"),
        ("x|A=hunter2|a|12345|123456|true", "x *** *** 12345 *** true"),
    ] {
        assert_eq!(line(given), shown.replace("'/srv/***/${HOME}/x'", "/srv/***/${HOME}/x"), "{given}");
    }
}

#[test]
fn what_one_equals_sign_gives_is_no_version() {
    for (given, shown) in [
        ("env|db_password=1234|x", "env db_password=*** ***"),
        ("env|code=1234-5678-9012|x", "env code=*** ***"),
        ("sudo|pin=1|x", "sudo pin=*** ***"),
        ("npx|cross-env|a=1.2.3|x", "npx cross-env a=*** ***"),
        ("npx|-p|x=1.2|x", "npx -p x=*** x"),
        ("uvx|--from|x==1.2|x", "uvx --from x==1.2 x"),
    ] {
        assert_eq!(line(given), shown, "{given}");
    }
}

#[test]
fn sentences_and_names_hold_no_secret() {
    for (given, shown) in [
        ("`cwd`: folder /srv/sk-hunter-0000000000/x does not exist", "`cwd`: folder /srv/***/x does not exist"),
        ("`env.A=hunter2` is not a name of a variable", "`***` is not a name of a variable"),
        ("only the editor knows `${input:x}`", "only the editor knows `${input:x}`"),
    ] {
        assert_eq!(told(given), shown);
    }
    assert_eq!([name("ghp_0123456789abcdef"), name("a=b"), name("My Server")], ["***", "***", "My Server"]);
    assert_eq!([place("a/../b"), place("/x/ghp_0123456789abcdef")], ["a/../b", "/x/***"]);
}

#[test]
fn what_tells_the_program_stays() {
    for given in [
        "npx|-y|@modelcontextprotocol/server-sequential-thinking",
        "uvx|mcp-server-git|--repository|/srv/me/monkey-author",
        "node|/opt/server/index.js|--verbose",
        "docker|run|-i|--rm|ghcr.io/github/github-mcp-server:v0.12.1",
        "docker|run|-i|--rm|localhost:5000/x",
        "uvx|--from|git+https://example.com/me/x.git|x",
        "uvx|--from|markitdown[all]==1.2|markitdown-mcp",
        "uv|--directory|/opt/weather|run|weather.py",
        "uv|run|--with|mcp[cli]|mcp|run|/opt/demo/server.py",
        "uv|tool|run|x",
        "npm|run|-s|mcp",
        "npx|-y|mcp-remote@latest|https://mcp.example.com/sse|3334|--allow-http",
        "/usr/bin/env|npx|x",
        "./scripts/mcp.sh",
        "php|artisan",
        "github-mcp-server|stdio",
        "deno|run|-A|npm:x",
        "x|--sessions|5",
    ] {
        assert_eq!(line(given), given.replace('|', " "));
    }
}

/// One secret word anywhere but where the program is named.
mod any {
    use super::*;
    use proptest::prelude::*;

    /// Known lines and where a word may be put in.
    const LINES: &[(&str, usize)] = &[
        ("npx|-y|@scope/pkg|--verbose|/srv/x", 3),
        ("npx|--quiet|pkg@1.2|serve", 3),
        ("uvx|--from|tool|tool|--port|80", 4),
        ("docker|run|-i|--rm|-v|/x|img:v1|stdio", 7),
        ("python3|-u|-m|module|--x|1", 4),
        ("node|--enable-source-maps|/x/index.js|true", 3),
        ("cmd|/c|npx|-y|pkg|https://h/mcp", 5),
        ("env|A=b|npx|pkg|--x", 4),
        ("my-server|--stdio|mcp", 1),
        ("npm exec pkg", 1),
        ("unknown|-a|b|--c=d|{}|e", 1),
    ];

    /// Lines with a secret where an option, a runner or a version may hide it: `§`.
    const HIDDEN: &[&str] = &[
        "npx|--prefix|§|pkg",
        "npx|--unknown|§|pkg",
        "npx|-y|pkg@§",
        "npx|pkg|--|§",
        "npx -y pkg|§",
        "npm|--prefix|§|run|mcp",
        "npm|run|mcp|--|§",
        "uvx|--python|§|tool",
        "uvx|tool==§",
        "uvx|--with|tool==§|tool",
        "uvx|--from|git+https://§@host.example/x|tool",
        "uv|run|--env-file|§|x.py",
        "docker|run|--name|§|img",
        "docker|run|--label=§|img",
        "docker|--context|§|run|img",
        "docker|run|--unknown|§|img",
        "docker|run|img:§",
        "docker|run|-e|§=1|img",
        "docker|exec|-i|box|§",
        "node|--import|§|x.js",
        "node|-e|§",
        "python3|-W|§|-m|module",
        "python3|-c|§",
        "deno|run|--allow-net=§|x.ts",
        "java|-Dkey=§|-jar|x.jar",
        "dotnet|run|--project|src|--|§",
        "php|artisan|§",
        "env|-u|§|npx|x",
        "env|lower=§|npx|x",
        "op|run|--account|§|--|npx|x",
        "bash|-c|x|§",
        "bash|-c|x; § y",
        "bash|-c|x '§' \"§\" $§ ${A:-§}",
        "x|https://§@host/mcp",
        "x|https://me:§@host/mcp",
        "x|https://host/mcp?§#§",
        "x|token://§",
    ];

    fn secret() -> impl Strategy<Value = String> {
        "[a-zA-Z][a-z][a-zA-Z0-9]{3,12}Q[a-zA-Z0-9+/=_.:!%-]{0,24}"
            .prop_filter("not a version or a file", |word| !word.contains("==") && !word.ends_with(['s', 'y', 'h']))
    }

    fn dressed(kind: u8, secret: &str) -> Vec<String> {
        let one = |text: String| vec![text];
        match kind {
            0 => one(secret.to_owned()),
            1 => vec!["--token".to_owned(), secret.to_owned()],
            2 => vec!["--anything".to_owned(), secret.to_owned()],
            3 => one(format!("--anything={secret}")),
            4 => one(format!("-p{secret}")),
            5 => one(format!("NAME={secret}")),
            6 => one(format!("{{\"a\": \"{secret}\"}}")),
            7 => vec!["--header".to_owned(), format!("Authorization: Bearer {secret}")],
            8 => one(format!("https://me:{secret}@host.example/mcp")),
            9 => one(format!("https://host.example/{secret}/mcp?key={secret}")),
            10 => one(format!("Server=db;Password={secret}")),
            11 => one(format!("${{NAME:-{secret}}}")),
            12 => one(format!("npx -y pkg {secret}")),
            13 => vec!["-e".to_owned(), format!("NAME={secret}")],
            14 => one(format!("me:{secret}@host/db")),
            _ => one(format!("{secret} {secret}")),
        }
    }

    proptest! {
        #[test]
        fn a_secret_is_never_shown(
            (text, from) in proptest::sample::select(LINES), kind in 0_u8..16, at in any::<usize>(), secret in secret(),
        ) {
            let mut words: Vec<String> = text.split('|').map(str::to_owned).collect();
            let at = from + at % (words.len() - from + 1);
            words.splice(at..at, dressed(kind, &secret));
            let shown = command_line(&words[0], &words[1..]);
            prop_assert!(!shown.contains(&secret), "{shown}");
        }

        #[test]
        fn nor_where_it_is_hidden(text in proptest::sample::select(HIDDEN), secret in secret()) {
            let shown = line(&text.replace('§', &secret.replace('|', "")));
            prop_assert!(!shown.contains(&secret), "{shown}");
        }

        #[test]
        fn nor_in_a_script(kind in 0_u8..16, secret in secret(), shell in "(sh|bash|zsh)", flag in "(-c|-lc)") {
            let words = dressed(kind, &secret).join(" ");
            for script in [format!("exec npx -y pkg {words}"), format!("TOKEN={secret} x {words}"), format!("cd /x && npx pkg {words}; {words}")] {
                let shown = command_line(&shell, &[flag.clone(), script]);
                prop_assert!(!shown.contains(&secret), "{shown}");
            }
        }

        #[test]
        fn any_words_are_shown_somehow(words in proptest::collection::vec(".{0,20}", 0..6)) {
            command_line(words.first().map_or("", String::as_str), &words);
            lines(&words.join("\n"));
        }
    }
}

#[test]
fn lines_of_config_files_are_masked() {
    let json = "{\n  \"mcpServers\": {\n    \"a\": {\n      \"command\": \"npx\",\n      \"env\": {\n        \"PLAIN\": \"hunter2\",\n\
                        \"REF\": \"${X}\"\n      },\n      \"url\": \"https://h/x?k=hunter2\",\n      \"apiKey\": \"hunter2\"\n    }\n  }\n}\n";
    let masked = lines(json);
    assert_eq!(masked.len(), json.lines().count());
    let masked = masked.join("\n");
    assert!(!masked.contains("hunter2"), "{masked}");
    for kept in ["\"command\": \"npx\"", "\"PLAIN\": \"***\"", "\"REF\": \"${X}\"", "https://h/***?***", "\"apiKey\""] {
        assert!(masked.contains(kept), "{kept} in {masked}");
    }
    let inline = lines("{\"env\": {\"A\": \"hunter2\"}, \"b\": \"c\"}").join("\n");
    assert!(!inline.contains("hunter2"), "{inline}");
    for line in [
        "{\"mcpServers\":{\"a\":{\"command\":\"npx\",\"env\":{\"PLAIN\":\"hunter2\"}}}}",
        "  \"a\": {\"command\": \"npx\", \"env\": {\n    \"PLAIN\": \"hunter2\"\n  }},",
        "servers = { a = { command = \"npx\", env = { PLAIN = \"hunter2\" } } }",
        "  - {name: c, command: npx, env: {PLAIN: hunter2}}",
    ] {
        let masked = lines(line).join("\n");
        assert!(!masked.contains("hunter2") && masked.contains("npx"), "{masked}");
    }
    let toml = "[servers.a]\ncommand = \"x\"\nargs = [\"--db\", \"hunter2\"]\nenv = { A = \"hunter2\" }\n\n[servers.a.env]\nB = \"hunter2\"\n\
                C = 'hunter2'\n\n[servers.b]\ncwd = \"/w\"\n";
    let masked = lines(toml).join("\n");
    assert!(!masked.contains("hunter2"), "{masked}");
    assert!(masked.contains("command = \"x\"") && masked.contains("cwd = \"/w\""), "{masked}");
    // What goes on over lines is no key, whatever it looks like.
    for text in [
        "a = \"\"\"\nhunter2 = 1\n\"\"\"\n",
        "a: |\n  hunter2: 1\n  x\nb: 1\n",
        "- a: >-\n    hunter2: 1\n",
        "A: b,hunter2:c, hunter2: d",
    ] {
        let masked = lines(text);
        assert!(!masked.concat().contains("hunter2") && masked.len() == text.lines().count(), "{masked:?}");
    }
    let bare = lines("timeout: 300\nPIN: 1234\nport = 8080, # 1\non: true\n  \"a\": 1,\n").join("\n");
    assert_eq!(bare, "timeout: 300\nPIN: ***\nport = ***\non: true\n  \"a\": 1,");
    let yaml = "extensions:\n  a:\n    cmd: npx\n    envs:\n      A: hunter2\n      B: 'hunter2'\n    timeout: 300\n    token: hunter2\n";
    let masked = lines(yaml).join("\n");
    assert!(!masked.contains("hunter2"), "{masked}");
    assert!(masked.contains("cmd: npx") && masked.contains("timeout: 300"), "{masked}");
}

#[test]
fn nothing_breaks_on_odd_text() {
    for odd in
        ["", "\"", "\\", "\"a", "=", ":", "{\"a\":", "[", "\u{feff}{", "é: \"ü\"", "\"\\\"", "a = \"\"\"", "🦀\"🦀\"🦀"]
    {
        assert_eq!(lines(odd).len(), odd.lines().count());
        command_line(odd, &[odd.to_owned()]);
        url(odd);
        path(odd);
        place(odd);
    }
}

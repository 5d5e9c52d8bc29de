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
        ("x|--api-key=hunter2", "x --api-key=***"),
        ("x|--access-token|${TOKEN}", "x --access-token ${TOKEN}"),
        ("x|--header|Authorization: Bearer abc", "x --header 'Authorization: ***'"),
        ("docker|run|-e|GITHUB_TOKEN=abc|img", "docker run -e GITHUB_TOKEN=*** img"),
        ("docker|run|-e|GITHUB_TOKEN|img", "docker run -e GITHUB_TOKEN img"),
        ("x|ghp_0123456789abcdef", "x ***"),
        ("x|postgres://me:pw@db.example/x?sslkey=1", "x 'postgres://***@db.example/x?***'"),
        ("x|https://h.example/mcp/0123456789abcdef0123456789abcdef/sse", "x https://h.example/mcp/***/sse"),
        ("x|--url=https://u:p@h/", "x --url=https://***@h/"),
        ("x|{\"token\":\"abc\"}", "x {***}"),
        ("bash|-c|TOKEN=abc exec npx x --key abc", "bash -c 'TOKEN=*** exec npx x --key ***'"),
        ("curl|-H|X-Api-Key: abc", "curl -H ***"),
        ("x|--header=X-Api-Key:abc", "x '--header=X-Api-Key: ***'"),
        ("x|--pass|abc", "x --pass ***"),
        ("x|-p|abc|-k|abc|-H|X-Custom: abc", "x -p *** -k *** -H ***"),
        ("mysql|-pabc|-p=abc|--pin|1234", "mysql -p*** -p=*** --pin ***"),
        ("docker|run|-e|MY_PASS=abc|img", "docker run -e MY_PASS=*** img"),
        ("x|Server=db;Password=abc;Pooling=true", "x 'Server=db;Password=***;Pooling=true'"),
        ("x|--db|Server=db; User Id=sa; Password=a b", "x --db 'Server=db; User Id=sa; Password=***'"),
        ("x|postgres://me:a/b@db/x", "x postgres://***@db/x"),
        ("x|postgres://me:a#b@db/x", "x postgres://***@db/x"),
        (
            "bash|-c|curl -H 'Authorization: Bearer abc' https://me:abc@h/?k=abc && x --password=abc",
            "bash -c 'curl -H '\\''Authorization: *** *** https://***@h/?*** && x --password=***'",
        ),
    ] {
        assert_eq!(line(given), shown, "{given}");
    }
}

#[test]
fn harmless_words_stay() {
    for given in [
        "npx|-y|@modelcontextprotocol/server-sequential-thinking",
        "uvx|mcp-server-git|--repository|/srv/me/monkey-author",
        "node|/opt/server/index.js|--keyboard|us",
        "docker|run|-i|--rm|ghcr.io/github/github-mcp-server:v0.12.1",
        "uvx|--from|git+https://example.com/me/x.git|x",
        "x|--path|a|--sessions|5",
        "x|2025-11-25|feature-branch-with-a-long-name",
    ] {
        assert_eq!(line(given), given.replace('|', " "));
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
    for kept in ["\"command\": \"npx\"", "\"PLAIN\": \"***\"", "\"REF\": \"${X}\"", "https://h/x?***", "\"apiKey\""] {
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
    }
}

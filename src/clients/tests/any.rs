//! Properties of any document: what is outside of an entry stays to the byte, comments stay, an undo is exact, and no text
//! makes it panic.
//!
//! In: generated texts. Out: verdicts. Owns no state. May not: touch a file.

use proptest::prelude::*;

use super::{Act, Client, Edit, Entry, Place, Scope, TARGET, edit, hub_entry, new_entry, place, read};
use crate::clients::{json, restore};

/// What a generator decides, drawn from a list that proptest can shrink.
#[derive(Debug)]
struct Choices {
    list: Vec<u32>,
    at: usize,
    comments: Vec<String>,
}

impl Choices {
    fn new(list: Vec<u32>) -> Self {
        Self { list, at: 0, comments: Vec::new() }
    }

    fn next(&mut self, below: u32) -> u32 {
        let drawn = self.list.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        drawn % below
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let index = self.next(u32::try_from(of.len()).expect("few"));
        of[usize::try_from(index).expect("small")]
    }

    /// A comment that occurs nowhere else.
    fn comment(&mut self, open: &str, close: &str) -> String {
        let text = format!("{open}c{}c{close}", self.comments.len());
        self.comments.push(text.trim().to_owned());
        text
    }

    /// What may stand between two tokens of JSON.
    fn space(&mut self) -> String {
        match self.next(14) {
            0..=5 => String::new(),
            6 => " ".to_owned(),
            7 => "\n".to_owned(),
            8 => "\n    ".to_owned(),
            9 => "\r\n\t".to_owned(),
            10 => self.comment(" /*", "*/"),
            11 => self.comment(" /*", "\n*/ "),
            _ => self.comment("//", "\n  "),
        }
    }

    fn json(&mut self, depth: u32) -> String {
        match self.next(if depth == 0 { 5 } else { 7 }) {
            0 => self.one(&["null", "true", "false"]).to_owned(),
            1 => self.one(&["0", "-1.5e3", "86400000"]).to_owned(),
            2 | 3 => self.one(&["\"\"", "\"x\"", "\"a\\\"}//b\"", "\"\\u00e9ö\"", "\"/* no */\""]).to_owned(),
            4 => "\"npx\"".to_owned(),
            5 => {
                let items: Vec<String> = (0..self.next(4)).map(|_| self.json(depth - 1)).collect();
                self.braced("[", "]", &items)
            }
            _ => self.object(depth - 1, &["a", "b", "c"]),
        }
    }

    fn braced(&mut self, open: &str, close: &str, items: &[String]) -> String {
        let mut text = open.to_owned();
        for (index, item) in items.iter().enumerate() {
            let comma = index + 1 < items.len() || self.next(4) == 0;
            text += &(self.space() + item + &self.space() + if comma { "," } else { "" });
        }
        text + &self.space() + close
    }

    fn object(&mut self, depth: u32, names: &[&str]) -> String {
        let count = self.next(4);
        let pairs: Vec<String> = (0..count)
            .map(|_| {
                let name = self.one(names);
                format!("\"{name}\"{}:{}{}", self.space(), self.space(), self.json(depth))
            })
            .collect();
        self.braced("{", "}", &pairs)
    }

    fn json_entry(&mut self) -> String {
        let mut pairs = Vec::new();
        for _ in 0..=self.next(6) {
            let (key, value) = match self.next(8) {
                0..=2 => ("command", "\"npx\"".to_owned()),
                3 => {
                    let items: Vec<String> = (0..self.next(3)).map(|_| "\"-y\"".to_owned()).collect();
                    ("args", self.braced("[", "]", &items))
                }
                4 => {
                    let items: Vec<String> = (0..self.next(3)).map(|_| "\"K\": \"v\"".to_owned()).collect();
                    ("env", self.braced("{", "}", &items))
                }
                5 => ("type", "\"stdio\"".to_owned()),
                6 => (self.one(&["alwaysAllow", "description", "x y"]), self.json(2)),
                _ => ("disabled", "false".to_owned()),
            };
            pairs.push(format!("\"{key}\"{}:{}{value}", self.space(), self.space()));
        }
        self.braced("{", "}", &pairs)
    }

    fn json_file(&mut self) -> String {
        let mut entries = Vec::new();
        for _ in 0..self.next(4) {
            let name = self.one(&["a", "b", "io.github.X/y", ""]);
            let entry = if self.next(8) == 0 { self.json(2) } else { self.json_entry() };
            entries.push(format!("\"{name}\"{}:{}{entry}", self.space(), self.space()));
        }
        let servers = self.braced("{", "}", &entries);
        let mut pairs = Vec::new();
        for _ in 0..self.next(3) {
            pairs.push(format!("\"{}\": {}", self.one(&["p", "q"]), self.json(2)));
        }
        pairs.push(format!("\"mcpServers\":{}{servers}", self.space()));
        if self.next(2) == 0 {
            pairs.push(format!("\"r\": {}", self.json(2)));
        }
        let mark = if self.next(6) == 0 { "\u{feff}" } else { "" };
        format!("{mark}{}{}{}", self.space(), self.braced("{", "}", &pairs), self.space())
    }

    /// An entry of Codex, in one of the ways to write it; the text ends with a newline.
    fn toml_entry(&mut self) -> String {
        let style = self.next(4);
        if style == 0 {
            let more = self.one(&["", ", args = [\"a\"]", ", env = { K = \"v\" }, enabled = true"]);
            return format!("[mcp_servers]\nx = {{ command = \"npx\"{more} }}{}\n", self.tail());
        }
        let (header, prefix) = match style {
            1 => ("[mcp_servers]\n", "x."),
            2 => ("[mcp_servers.\"x\"]\n", ""),
            _ => ("  [ mcp_servers . x ] # h\n", "\t"),
        };
        let mut text = header.to_owned();
        let mut keys = vec!["command = \"npx\"", "enabled = true", "args = [\"-y\", 'z']", "startup_timeout_sec = 5"];
        keys.truncate(1 + usize::try_from(self.next(4)).expect("small"));
        if self.next(2) == 0 {
            keys.reverse();
        }
        if self.next(3) == 0 {
            keys.push("cwd = \"\"\"\n/p # no comment\"\"\"");
        }
        for key in keys {
            text += &(self.line_before() + prefix + key + &self.tail() + "\n");
        }
        if self.next(3) == 0 {
            text += &*format!("{prefix}env_vars = [{}\n \"A\",\n]\n", self.comment(" #", ""));
        }
        if self.next(2) == 0 {
            text += &*format!("{}{prefix}env.K = \"v\"{}\n", self.line_before(), self.tail());
        } else if style > 1 && self.next(2) == 0 {
            text += &*format!("{}[mcp_servers.x.env]{}\nK = \"v\"\n", self.line_before(), self.tail());
        }
        if style > 1 && self.next(3) == 0 {
            text += "[mcp_servers.x.tools.t]\napproval_mode = \"approve\"\n";
        }
        text
    }

    fn tail(&mut self) -> String {
        if self.next(3) == 0 { self.comment(" # ", "") } else { String::new() }
    }

    fn line_before(&mut self) -> String {
        match self.next(6) {
            0 => self.comment("# ", "\n"),
            1 => "\n".to_owned(),
            _ => String::new(),
        }
    }

    /// An entry of Goose; the text ends with a newline.
    fn yaml_entry(&mut self, indent: &str) -> String {
        if self.next(6) == 0 {
            let more = self.one(&["", ", args: [a, 'b, c']", ", envs: {K: v}, enabled: true", ", \"type\": stdio"]);
            return format!("{indent}x: {{cmd: npx{more}}}{}\n", self.tail());
        }
        let inner = format!("{indent}{}", self.one(&["  ", "    ", " "]));
        let mut text = format!("{indent}{}:{}\n", self.one(&["x", "'x'", "\"x\""]), self.tail());
        let mut keys = vec!["cmd", "enabled", "args", "type", "name", "description", "envs", "timeout"];
        let skip = self.next(8);
        keys.retain(|key| *key == "cmd" || keys_index(key) != skip);
        if self.next(2) == 0 {
            keys.reverse();
        }
        for key in keys {
            if self.next(5) == 0 {
                text += &*format!("{inner}{}", self.comment("# ", "\n"));
            }
            let tail = self.tail();
            let line = match key {
                "cmd" => format!("{inner}cmd: {}{tail}\n", self.one(&["npx", "'n p x'", "\"n\\\"px\""])),
                "enabled" => format!("{inner}enabled: true{tail}\n"),
                "type" => format!("{inner}type:   stdio{tail}\n"),
                "name" => format!("{inner}name: {}{tail}\n", self.one(&["x", "'it''s # x'", "ö"])),
                "timeout" => format!("{inner}timeout: 300{tail}\n"),
                "description" => match self.next(3) {
                    0 => format!("{inner}description: |{tail}\n{inner}  a\n\n{inner}  # b\n"),
                    1 => format!("{inner}description: >-{tail}\n{inner}  a\n"),
                    _ => format!("{inner}description: plain\n{inner}  and more{tail}\n"),
                },
                "args" => {
                    let dash = format!("{inner}{}", self.one(&["", "  "]));
                    match self.next(3) {
                        0 => format!("{inner}args: [a, \"b # c\"]{tail}\n"),
                        1 => format!("{inner}args:\n{dash}- -y{tail}\n{dash}- 'p q'{}\n", self.tail()),
                        _ => format!("{inner}args: []{tail}\n"),
                    }
                }
                _ => match self.next(3) {
                    0 => format!("{inner}envs: {{K: v}}{tail}\n"),
                    1 => format!("{inner}envs:{tail}\n{inner}  K: v{}\n", self.tail()),
                    _ => format!("{inner}envs: {{}}{tail}\n"),
                },
            };
            text += &line;
        }
        text
    }
}

fn keys_index(key: &str) -> u32 {
    u32::try_from(key.len()).expect("short") % 8
}

fn choices() -> impl Strategy<Value = Choices> {
    proptest::collection::vec(any::<u32>(), 0..250).prop_map(Choices::new)
}

fn at(path: &[&str]) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).collect()
}

fn put((client, place): (&Client, &Place), at: &[String]) -> Edit {
    Edit { at: at.to_vec(), act: Act::Put(hub_entry(client, &place.shape, TARGET)) }
}

/// Moves the only entry, checks it, takes it back.
fn there_and_back(
    text: &str,
    choices: &Choices,
    client: (&Client, &Place),
    path: &[&str],
) -> Result<String, TestCaseError> {
    let (shape, path) = (&client.1.shape, at(path));
    let found = read(text, shape).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?.found;
    prop_assert_eq!(found.len(), 1, "{}", text);
    prop_assert!(matches!(found[0].entry, Entry::Stdio(_)), "{:?}\n{}", found, text);
    let result = edit(text, shape, &[put(client, &path)]);
    let result = result.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
    for comment in &choices.comments {
        prop_assert!(result.contains(comment.as_str()), "{} is gone:\n{}\n=>\n{}", comment, text, result);
    }
    let url = Entry::Remote { url: TARGET.url.to_owned() };
    prop_assert_eq!(&read(&result, shape).expect("readable").found[0].entry, &url);
    let again = edit(&result, shape, &[put(client, &path)]);
    prop_assert_eq!(again.as_deref(), Ok(result.as_str()));
    Ok(result)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn json_outside_of_an_entry_is_the_same_to_the_byte(mut choices in choices()) {
        let text = choices.json_file();
        let client = place("cursor", Scope::User, "mcp.json");
        let shape = &client.1.shape;
        let found = read(&text, shape).expect("readable").found;
        for found in &found {
            let span = json::parse(&text).expect("readable").at(&found.at).expect("there").span.clone();
            if matches!(found.entry, Entry::Stdio(_)) {
                let result = edit(&text, shape, &[put(client, &found.at)]);
                prop_assert!(result.is_ok(), "{:?}\n{}", result, text);
                let result = result.expect("just asked");
                prop_assert!(result.starts_with(&text[..span.start]) && result.ends_with(&text[span.end..]), "{}\n=>\n{}", text, result);
                for comment in &choices.comments {
                    prop_assert!(result.contains(comment.as_str()), "{} is gone:\n{}\n=>\n{}", comment, text, result);
                }
                let moved = read(&result, shape).expect("readable").found;
                let moved = moved.iter().find(|moved| moved.at == found.at).expect("still there");
                prop_assert_eq!(&moved.entry, &Entry::Remote { url: TARGET.url.to_owned() });
                let again = edit(&result, shape, &[put(client, &found.at)]);
                prop_assert_eq!(again.as_deref(), Ok(result.as_str()));
                let back = restore(&result, &text, shape, std::slice::from_ref(&found.at));
                if !text.contains("\r\n") {
                    prop_assert_eq!(back.as_deref(), Ok(text.as_str()));
                }
            }
            let gone = edit(&text, shape, &[Edit { at: found.at.clone(), act: Act::Remove }]);
            prop_assert!(gone.is_ok(), "{:?}\n{}", gone, text);
            for comment in &choices.comments {
                prop_assert!(gone.as_ref().expect("just asked").contains(comment.as_str()), "{} is gone:\n{}", comment, text);
            }
        }
        let new = Edit { at: at(&["mcpServers", "new one"]), act: Act::Insert(new_entry(client.0, shape, "new one", TARGET)) };
        let more = edit(&text, shape, std::slice::from_ref(&new));
        prop_assert!(more.is_ok(), "{:?}\n{}", more, text);
        let more = more.expect("just asked");
        for comment in &choices.comments {
            prop_assert!(more.contains(comment.as_str()), "{} is gone:\n{}\n=>\n{}", comment, text, more);
        }
        let all: Vec<Edit> = found.iter().filter(|found| matches!(found.entry, Entry::Stdio(_))).map(|found| put(client, &found.at)).chain([new]).collect();
        prop_assert!(edit(&text, shape, &all).is_ok(), "{}", text);
    }

    #[test]
    fn toml_outside_of_an_entry_is_the_same_to_the_byte(mut choices in choices()) {
        let before = choices.one(&["", "a = 1 # a\n", "# c\n[t]\nx = \"[mcp_servers.x]\"\n", "\u{feff}b = '''\n'''\n"]);
        let entry = choices.toml_entry();
        let after = choices.one(&["", "\n# of z\n[z]\n", "[[l]]\na = 1\n[[l]]\n", "# end"]);
        let text = format!("{before}{entry}{after}");
        let client = place("codex", Scope::User, "config.toml");
        let result = there_and_back(&text, &choices, client, &["mcp_servers", "x"])?;
        prop_assert!(result.starts_with(before) && result.ends_with(after), "{}\n=>\n{}", text, result);
        let back = restore(&result, &text, &client.1.shape, &[at(&["mcp_servers", "x"])]);
        prop_assert_eq!(back.as_deref(), Ok(text.as_str()));
        let crlf = edit(&text.replace('\n', "\r\n"), &client.1.shape, &[put(client, &at(&["mcp_servers", "x"]))]);
        prop_assert_eq!(crlf, Ok(result.replace('\n', "\r\n")));
        let gone = edit(&text, &client.1.shape, &[Edit { at: at(&["mcp_servers", "x"]), act: Act::Remove }]);
        prop_assert!(gone.is_ok(), "{:?}\n{}", gone, text);
    }

    #[test]
    fn yaml_outside_of_an_entry_is_the_same_to_the_byte(mut choices in choices()) {
        let before = choices.one(&["", "a: 'b' # a\n", "# c\nt: |\n  extensions:\n\n", "---\n", "\u{feff}l:\n- &a 1\n- *a\n"]);
        let indent = choices.one(&["  ", "    ", " "]);
        let entry = choices.yaml_entry(indent);
        let after = choices.one(&["", "\n# of z\nz: 1\n", "z:\n- 1\n", "# end"]);
        let text = format!("{before}extensions: # e\n{entry}{after}");
        let client = place("goose", Scope::User, "config.yaml");
        let result = there_and_back(&text, &choices, client, &["extensions", "x"])?;
        prop_assert!(result.starts_with(before) && result.ends_with(after), "{}\n=>\n{}", text, result);
        let back = restore(&result, &text, &client.1.shape, &[at(&["extensions", "x"])]);
        prop_assert_eq!(back.as_deref(), Ok(text.as_str()));
        let crlf = edit(&text.replace('\n', "\r\n"), &client.1.shape, &[put(client, &at(&["extensions", "x"]))]);
        prop_assert_eq!(crlf, Ok(result.replace('\n', "\r\n")));
        let gone = edit(&text, &client.1.shape, &[Edit { at: at(&["extensions", "x"]), act: Act::Remove }]);
        prop_assert!(gone.is_ok(), "{:?}\n{}", gone, text);
    }

    #[test]
    fn edits_at_once_are_edits_one_by_one(mut choices in choices(), acts in proptest::collection::vec(0..3u8, 8)) {
        let json = place("cursor", Scope::User, "mcp.json");
        let toml = place("codex", Scope::User, "config.toml");
        let yaml = place("goose", Scope::User, "config.yaml");
        let renamed = |text: &str, name: &str| text.replace(".x.", &format!(".{name}.")).replace(".x]", &format!(".{name}]")).replace(". x ", &format!(". {name} ")).replace("\"x\"]", &format!("\"{name}\"]"));
        let tables = ["x", "y", "z"].map(|name| renamed(&choices.toml_entry(), name)).into_iter().filter(|entry| !entry.contains("[mcp_servers]")).collect::<String>();
        let lines = ["x", "y", "z"].map(|name| choices.yaml_entry("  ").replacen(['x'], name, 1)).concat();
        for (text, (client, place), table) in [
            (choices.json_file(), json, "mcpServers"),
            (tables, toml, "mcp_servers"),
            (format!("extensions:\n{lines}"), yaml, "extensions"),
        ] {
            let found = read(&text, &place.shape).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?.found;
            let mut edits: Vec<Edit> = found.iter().zip(&acts).filter_map(|(found, act)| match act {
                0 => Some(Edit { at: found.at.clone(), act: Act::Remove }),
                1 if matches!(found.entry, Entry::Stdio(_)) => Some(put((client, place), &found.at)),
                _ => None,
            }).collect();
            edits.sort_by_key(|edit| (edit.act == Act::Remove, edit.at.clone()));
            edits.dedup_by(|one, other| one.at == other.at);
            edits.extend(["n", "m"].map(|name| Edit { at: at(&[table, name]), act: Act::Insert(new_entry(client, &place.shape, name, TARGET)) }));
            let at_once = edit(&text, &place.shape, &edits);
            let one_by_one = edits.iter().try_fold(text.clone(), |text, one| edit(&text, &place.shape, std::slice::from_ref(one)));
            prop_assert_eq!(at_once.is_ok(), one_by_one.is_ok(), "{:?}\n{:?}\n{:?}\n{}", at_once, one_by_one, edits, text);
            if let (Ok(at_once), Ok(one_by_one)) = (at_once, one_by_one) {
                let entries = |text: &str| read(text, &place.shape).expect("readable").found;
                prop_assert_eq!(entries(&at_once), entries(&one_by_one));
                for comment in &choices.comments {
                    prop_assert!(at_once.contains(comment.as_str()) || !text.contains(comment.as_str()), "{} is gone:\n{}", comment, at_once);
                }
                // White space may differ: the second of two new entries looks at the first.
                let dense = |text: &str| text.split_whitespace().collect::<String>();
                prop_assert_eq!(dense(&at_once), dense(&one_by_one), "{:?}\n{}", edits, text);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(mut choices in choices(), noise in "[\\x00-\\x7f\u{e9}\u{feff}\u{2028}]{0,12}", whole in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let clients = ["cursor", "claude-code", "codex", "goose", "continue", "opencode", "zed", "vscode"];
        let texts = [
            choices.json_file(),
            format!("mcp_servers.r = {{}}\n{}", choices.toml_entry()),
            format!("extensions:\n{}", choices.yaml_entry("  ")),
            format!("mcpServers:\n- name: x\n{}", choices.yaml_entry("  ")),
            whole,
            String::from_utf8_lossy(&bytes).into_owned(),
        ];
        for mut text in texts {
            // Cut short, or something in the middle of it.
            let mut cut = usize::try_from(choices.next(u32::MAX)).expect("fits") % (text.len() + 1);
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            if choices.next(2) == 0 { text.truncate(cut); }
            text.insert_str(cut, &noise);
            for id in clients {
                let client = super::client(id).expect("known");
                for place in client.places {
                    let found = read(&text, &place.shape).map(|reading| reading.found).unwrap_or_default();
                    for found in found {
                        let put = put((client, place), &found.at);
                        if let Ok(result) = edit(&text, &place.shape, &[put]) {
                            prop_assert!(read(&result, &place.shape).is_ok());
                            drop(restore(&result, &text, &place.shape, std::slice::from_ref(&found.at)));
                        }
                        drop(edit(&text, &place.shape, &[Edit { at: found.at, act: Act::Remove }]));
                    }
                    let act = Act::Insert(new_entry(client, &place.shape, "new", TARGET));
                    drop(edit(&text, &place.shape, &[Edit { at: at(&["mcpServers", "new"]), act }]));
                }
            }
        }
    }
}

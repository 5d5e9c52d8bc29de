//! Servers that drive a browser: two sessions would take it out of each other's hands.
//!
//! In: a command line. Out: whether it is one of them. Owns nothing. PURE. May not: know more than names.

/// Parts of the names of packages and programs that do.
const NAMES: &[&str] = &[
    "playwright",
    "puppeteer",
    "chrome-devtools-mcp",
    "browsermcp",
    "browser-use",
    "mcp-server-browser",
    "selenium",
    "chrome-mcp",
    "mcp-chrome",
    "stagehand",
];

/// Whether each session needs one of its own.
pub(super) fn drives_one(command: &str, args: &[String]) -> bool {
    // Where the package is named: the program, or one of the first words that is no option. Later words are its own.
    let words = args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-')).take(2).chain([command]);
    words.filter_map(|word| word.rsplit('/').next().zip(Some(word))).any(|(last, word)| {
        let is_package = word.starts_with('@') || !word.contains("://");
        is_package && NAMES.iter().any(|name| word.contains(name) && (last.contains(name) || word.starts_with('@')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_name() {
        let of = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let command = words.next().expect("a command");
            drives_one(&command, &words.collect::<Vec<_>>())
        };
        for line in [
            "npx -y @playwright/mcp@latest",
            "npx @playwright/mcp --headless",
            "npx -y @modelcontextprotocol/server-puppeteer",
            "npx chrome-devtools-mcp@latest",
            "uvx browser-use --mcp",
            "/opt/bin/playwright-mcp",
            "docker run -i --rm mcr.example.com/playwright/mcp-playwright",
        ] {
            assert!(of(line), "{line}");
        }
        for line in
            ["npx -y @scope/server-github", "node /srv/playwright/server.js", "npx -y x y z playwright", "uvx x"]
        {
            assert!(!of(line), "{line}");
        }
    }
}

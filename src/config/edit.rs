//! Small changes to the text of hub.toml, with comments, order and format kept. PURE.
//!
//! In: the text, and what to change. Out: the new text. Owns nothing. May not: change anything else.

use toml_edit::{DocumentMut, Item, value};

/// The text with `enabled` of a server set.
pub fn set_enabled(text: &str, server: &str, enabled: bool) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let servers = document.get_mut("servers").and_then(Item::as_table_like_mut);
    let table = servers.and_then(|servers| servers.get_mut(server)).and_then(Item::as_table_like_mut);
    let Some(table) = table else { return Err(format!("there is no [servers.{server}] in hub.toml")) };
    match table.get_mut("enabled").and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = enabled.into();
            *old.decor_mut() = decor;
        }
        None => drop(table.insert("enabled", value(enabled))),
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_order_stay() {
        let text = "# top\n[servers.a] # one\ncommand = \"x\"\nenabled = true # why\n\n[servers.b]\ncommand = \"y\"\n";
        let off = set_enabled(text, "a", false).expect("edited");
        assert_eq!(off, text.replace("enabled = true", "enabled = false"));
        assert_eq!(set_enabled(&off, "a", true).expect("edited"), text);
        let b = set_enabled(text, "b", false).expect("edited");
        assert_eq!(b, format!("{text}enabled = false\n"));
        assert!(set_enabled(text, "c", false).is_err());
        assert_eq!(
            set_enabled("servers = { a = { command = \"x\" } }\n", "a", false).expect("edited"),
            "servers = { a = { command = \"x\" , enabled = false } }\n"
        );
    }
}

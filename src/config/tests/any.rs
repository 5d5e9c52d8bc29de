//! Any text gets a verdict, and always the same one.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch the real environment or files.

use proptest::prelude::*;

use super::{EXAMPLE, check};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_gets_a_verdict(text in "\\PC{0,120}") {
        verdict(&text)?;
    }

    #[test]
    fn any_toml_like_text_gets_a_verdict(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "[hub]\n", "[servers.s]\n", "[servers.s.env]\n", "[defaults]\n", "[servers]\n", "[[servers]]\n", "s = ",
                "command", "args", "env", "port", "tools", "cwd", "share", " = ", "\"", "'", "\"\"\"", "{", "}", "[", "]",
                ",", ".", "\n", "${A}", "${", "~", "1", "-1", "true", "1979-05-27", "\"x\"\n", "# c\n", "\u{0}", "é",
            ]),
            0..40,
        )
    ) {
        verdict(&parts.concat())?;
    }

    #[test]
    fn a_damaged_example_gets_a_verdict(at in 0..EXAMPLE.len(), length in 0usize..40, put in "[\\[\\]{}\"'=.\n$a1]{0,3}") {
        let mut text = EXAMPLE.to_owned();
        let (start, end) = (text.floor_char_boundary(at), text.floor_char_boundary((at + length).min(text.len())));
        text.replace_range(start..end, &put);
        verdict(&text)?;
    }
}

fn verdict(text: &str) -> Result<(), TestCaseError> {
    let loaded = check(text);
    prop_assert!(loaded.config.is_some() || !loaded.problems.is_empty());
    let lines = 1 + text.matches('\n').count();
    prop_assert!(loaded.problems.iter().all(|problem| problem.line <= lines));
    prop_assert!(loaded.problems.is_sorted_by_key(|problem| problem.line));
    for entry in loaded.config.iter().flat_map(|config| &config.servers) {
        let own = loaded.problems.iter().filter(|problem| problem.server.as_ref() == Some(&entry.name)).count();
        prop_assert!(own == 0 || entry.spec.is_err());
        prop_assert!(entry.spec.is_err() || entry.spec.as_ref().is_ok_and(|spec| !spec.command.is_empty()));
    }
    prop_assert_eq!(loaded, check(text), "the same text, the same verdict");
    Ok(())
}

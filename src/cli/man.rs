//! `hub man`: the manual page, made from the same definitions as `--help`.
//!
//! In: nothing. Out: roff text, all verbs in one page. Owns nothing. May not: say anything that `--help` does not.

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::args::Args;
use super::failure::Failure;
use super::out::Out;

pub(super) fn run(out: &Out) -> Result<(), Failure> {
    out.bytes(&page()?)
}

fn page() -> Result<Vec<u8>, Failure> {
    let mut command = Args::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
        let heading = format!(".SH \"HUB {}\"\n", verb.get_name().to_uppercase());
        page.extend_from_slice(heading.as_bytes());
        if let Some(about) = verb.get_about() {
            page.extend_from_slice(format!("{about}\n.PP\n").as_bytes());
        }
        let mut section = Vec::new();
        let man = Man::new(verb.clone());
        man.render_synopsis_section(&mut section)?;
        man.render_options_section(&mut section)?;
        man.render_extra_section(&mut section)?;
        // Sections of a verb are subsections of the whole.
        page.extend_from_slice(String::from_utf8_lossy(&section).replace(".SH ", ".SS ").as_bytes());
    }
    man.render_extra_section(&mut page)?;
    Ok(String::from_utf8_lossy(&page).replace(" EXTRA\n", " NOTES\n").into_bytes())
}

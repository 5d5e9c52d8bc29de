//! The only printer.
//!
//! In: lines, documents, tables, failures. Out: bytes on stdout (what was asked for) and stderr (everything else). Owns
//! what is known of the terminal. May not: put a colour or a cursor movement into anything but a terminal.

use std::io::{self, IsTerminal as _, Stderr, Stdout, Write as _};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::failure::Failure;
use super::harmless::harmless;

/// Where output goes and what it may look like.
#[derive(Debug)]
pub(super) struct Out {
    stdout: Stdout,
    stderr: Stderr,
    is_terminal: bool,
    colour: bool,
    colour_of_errors: bool,
}

/// What a word means, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Busy,
    Bad,
    Faint,
    Strong,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Busy => "33",
            Self::Bad => "31",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }
}

impl Out {
    /// Looks at stdout, stderr and `NO_COLOR` (no-color.org: any value but the empty one counts).
    pub(super) fn of_this_terminal() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let is_terminal = stdout.is_terminal();
        let (colour, colour_of_errors) = (wanted && is_terminal, wanted && stderr.is_terminal());
        Self { stdout, stderr, is_terminal, colour, colour_of_errors }
    }

    /// As on a terminal without colours.
    #[cfg(test)]
    pub(super) fn terminal() -> Self {
        Self { is_terminal: true, ..Self::plain() }
    }

    /// As when output goes into a file.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { is_terminal: false, colour: false, colour_of_errors: false, ..Self::of_this_terminal() }
    }

    /// Is stdout a terminal?
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Columns of the terminal; `None` when output goes elsewhere and may be as wide as it likes.
    pub(super) fn width(&self) -> Option<usize> {
        // A terminal that nobody gave a size says 0.
        self.is_terminal.then(|| Table::new().width()).flatten().map(usize::from).filter(|columns| *columns > 0)
    }

    /// Text with a tone, for [`Self::text`].
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.colour, tone, &harmless(text))
    }

    /// Text of hub's own making, with its newlines and colours; what others said in it must be [`harmless`] already.
    pub(super) fn text(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// One line, or several, whoever said it.
    pub(super) fn line(&self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{}\n", harmless(line)))
    }

    /// One JSON document and nothing else.
    pub(super) fn document(&self, json: &[u8]) -> Result<(), Failure> {
        let mut out = self.stdout.lock();
        out.write_all(json)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Bytes as they are.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = self.stdout.lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Replaces what was drawn before on a terminal; elsewhere, a page follows the other.
    pub(super) fn redraw(&self, page: &str) -> Result<(), Failure> {
        if self.is_terminal {
            // Home, then clear each line's rest and what is below: no flicker, as clearing everything first would have.
            let page = page.replace('\n', "\x1b[K\n");
            return self.text(&format!("\x1b[H{page}\x1b[J"));
        }
        self.text(&format!("{page}\n"))
    }

    /// Something on the side, for a person: stderr.
    pub(super) fn note(&self, note: &str) {
        // Nothing can be done when stderr is closed.
        writeln!(self.stderr.lock(), "{note}").ok();
    }

    /// What went wrong, and what to do about it.
    pub(super) fn failure(&self, failure: &Failure) {
        if !failure.message.is_empty() {
            let message = harmless(&failure.message);
            self.note(&format!("{}: {message}", paint(self.colour_of_errors, Tone::Bad, "error")));
        }
        if let Some(hint) = &failure.hint {
            let hint = harmless(hint);
            self.note(&format!("{}: {hint}", paint(self.colour_of_errors, Tone::Strong, "hint")));
        }
    }

    /// A table without lines: the header, rows of cells with a tone; columns named in `right` are aligned to the right.
    pub(super) fn table(&self, header: &[&str], right: &[&str], rows: Vec<Vec<(String, Tone)>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let bold = |name: &&str| Cell::new(name).add_attribute(Attribute::Bold);
        table.set_header(header.iter().map(bold).collect::<Vec<_>>());
        for row in rows {
            table.add_row(row.into_iter().map(|(text, tone)| toned(text, tone)).collect::<Vec<_>>());
        }
        for (index, name) in header.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                // Flush with the text above and below; two blanks between columns.
                column.set_padding((0, 2));
                if right.contains(name) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table.trim_fmt() + "\n"
    }
}

fn toned(text: String, tone: Tone) -> Cell {
    let cell = Cell::new_owned(harmless(&text).into_owned());
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Busy => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
        Tone::Strong => cell.add_attribute(Attribute::Bold),
    }
}

fn paint(colour: bool, tone: Tone, text: &str) -> String {
    if colour && tone != Tone::Plain { format!("\x1b[{}m{text}\x1b[0m", tone.code()) } else { text.to_owned() }
}

/// Bytes as a person reads them: three digits at most.
pub(super) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 999.5 {
            return if value < 9.95 && unit != "B" {
                format!("{value:.1} {unit}")
            } else {
                format!("{value:.0} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A time span by its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// The first line of a text, cut to `width` columns with an ellipsis.
pub(super) fn first_line(text: &str, width: usize) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default().trim_end();
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown = [0, 999, 1000, 9_949, 9_950, 142_400_000, 999_600_000, 2_340_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 KB", "9.9 KB", "10 KB", "142 MB", "1.0 GB", "2.3 GB"]);
        assert_eq!(
            [0, 59, 60, 3599, 3600, 86399, 90000].map(span),
            ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1d 1h"]
        );
    }

    #[test]
    fn long_lines_are_cut_and_later_ones_dropped() {
        assert_eq!(first_line("\n  Größe\nmore", 5), "Größe");
        assert_eq!(first_line("123456", 5), "1234…");
        assert_eq!(first_line("", 5), "");
    }

    #[test]
    fn a_table_without_colour_is_plain_text() {
        let out = Out::plain();
        let rows = vec![
            vec![("a".to_owned(), Tone::Good), ("1".to_owned(), Tone::Plain)],
            vec![("long".to_owned(), Tone::Bad), ("20".to_owned(), Tone::Plain)],
        ];
        assert_eq!(out.table(&["NAME", "N"], &["N"], rows), "NAME   N\na      1\nlong  20\n");
    }
}

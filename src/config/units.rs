//! Durations and sizes as people write them.
//!
//! In: `"30s"`, `"2GiB"`. Out: a [`Duration`], bytes. Owns no state. May not: know which key is read.

use std::time::Duration;

/// The longest duration hub takes: far below where adding it to a clock overflows.
pub(super) const DURATION_MAX: Duration = Duration::from_hours(366 * 24);

/// Reads `500ms`, `30s`, `5m`, `1h 30m`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let found = humantime::parse_duration(text.trim()).map_err(
        |_reason| "is not a duration; write a number with its unit, such as \"500ms\", \"30s\", \"5m\" or \"7d\"",
    )?;
    if found > DURATION_MAX { Err("is longer than 366 days") } else { Ok(found) }
}

/// Reads `64MiB`, `2GiB`, `500KB`, `1024B`, `1024`.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "is not a size; write a number with its unit, such as \"512KiB\", \"64MiB\" or \"2GiB\"";
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(FORM),
    };
    let number: u64 = match number.parse() {
        Ok(number) => number,
        Err(_) if number.is_empty() => return Err(FORM),
        Err(_) => return Err("is too large"),
    };
    number.checked_mul(factor).ok_or("is too large")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, expected) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h 30m", 5_400_000), (" 7d ", 604_800_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1.5 parsecs", "never"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("2years"), Err("is longer than 366 days"));
        assert!(duration("99999999999999999999y").is_err());
    }

    #[test]
    fn sizes() {
        for (text, expected) in
            [("1024", 1024), ("1 KiB", 1024), ("64MiB", 64 << 20), ("2GiB", 2 << 30), ("1MB", 1_000_000), ("7b", 7)]
        {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for bad in ["", "MiB", "64M", "-1", "1.5GiB", "1 KiB x"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(size("99999999999999999999"), Err("is too large"));
        assert_eq!(size("18446744073709551615GiB"), Err("is too large"));
    }

    proptest! {
        #[test]
        fn anything_is_an_answer(text in ".{0,24}") {
            let _ = duration(&text);
            let _ = size(&text);
        }
    }
}

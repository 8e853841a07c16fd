//! Numbers as people read them: three digits and a unit.

/// A count: `999`, `1.2k`, `12.3k`, `123k`, `1.2M`.
pub(super) fn count(number: u64) -> String {
    if number < 1000 { number.to_string() } else { scaled(number as f64, "") }
}

/// Bytes in decimal units: `999 B`, `1.2 kB`, `3.4 MB`.
pub(super) fn bytes(number: u64) -> String {
    if number < 1000 { format!("{number} B") } else { format!("{}B", scaled(number as f64, " ")) }
}

/// A count a second: `0`, `0.5`, `12`, `1.2k`.
pub(super) fn rate(per_second: f64) -> String {
    if per_second == 0.0 {
        "0".to_owned()
    } else if per_second < 9.95 {
        format!("{per_second:.1}")
    } else if per_second < 999.5 {
        format!("{per_second:.0}")
    } else {
        scaled(per_second, "")
    }
}

/// Bytes a second: `0 B`, `1.2 kB`.
pub(super) fn byte_rate(per_second: f64) -> String {
    if per_second < 999.5 { format!("{per_second:.0} B") } else { format!("{}B", scaled(per_second, " ")) }
}

/// A part of one: `33.4 %`.
pub(super) fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// At least a thousand, with the unit that leaves one to three digits before the point.
fn scaled(number: f64, gap: &str) -> String {
    let mut value = number / 1000.0;
    let mut units = ["k", "M", "G", "T", "P", "E"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if value < 999.5 || units.peek().is_none() {
            let digits = usize::from(value < 99.95);
            return format!("{value:.digits$}{gap}{unit}");
        }
        value /= 1000.0;
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (1234, "1.2k"),
            (12_345, "12.3k"),
            (99_949, "99.9k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (3_400_000_000, "3.4G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(number), text, "{number}");
        }
    }

    #[test]
    fn bytes_have_decimal_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1500), "1.5 kB");
        assert_eq!(bytes(3_400_000), "3.4 MB");
    }

    #[test]
    fn rates_show_small_numbers_finely() {
        for (per_second, text) in
            [(0.0, "0"), (0.5, "0.5"), (9.96, "10"), (999.4, "999"), (999.6, "1.0k"), (1.5e6, "1.5M")]
        {
            assert_eq!(rate(per_second), text, "{per_second}");
        }
        assert_eq!(byte_rate(0.0), "0 B");
        assert_eq!(byte_rate(125_000_000.0), "125 MB");
    }
}

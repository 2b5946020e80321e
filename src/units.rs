//! Numbers in the form in which people read them.

/// Formats bytes for people: `1.5 GiB`.
pub fn bytes(n: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1023.95 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    match unit {
        0 if n == 1 => "1 byte".to_owned(),
        0 => format!("{n} bytes"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// Formats a time for people, more coarsely the longer it is: `42 s`, `4 min 30 s`, `43 min`, `2 h 10 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e9).round() as u64;
    let tens = seconds.next_multiple_of(10);
    let minutes = seconds.div_ceil(60);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 if tens.is_multiple_of(60) => format!("{} min", tens / 60),
        60..600 => format!("{} min {} s", tens / 60, tens % 60),
        600..3600 => format!("{minutes} min"),
        3600..86400 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1440, minutes % 1440 / 60),
    }
}

/// How much of something is done, in whole percents: others say both numbers, which may be any.
pub fn percent(done: u64, of: u64) -> u64 {
    let done = u128::from(done.min(of));
    (done * 100 / u128::from(of.max(1))) as u64
}

/// Formats a number of things: `1 file`, `2 files`.
pub fn plural(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_legible() {
        for (n, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (4 << 30, "4.0 GiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn percents_are_of_any_numbers() {
        const MOST: u64 = u64::MAX;
        for (done, of, expected) in [
            (0, 0, 0),
            (5, 0, 0),
            (1, 3, 33),
            (7, 5, 100),
            (MOST - 1, MOST, 99),
            (MOST, MOST, 100),
        ] {
            assert_eq!(percent(done, of), expected, "{done} of {of}");
        }
    }

    #[test]
    fn times_are_legible() {
        for (seconds, text) in [
            (0.4, "0 s"),
            (59.4, "59 s"),
            (61.0, "1 min 10 s"),
            (111.0, "2 min"),
            (270.0, "4 min 30 s"),
            (2570.0, "43 min"),
            (7790.0, "2 h 10 min"),
            (90000.0, "1 d 1 h"),
            (f64::INFINITY, "11574 d 1 h"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }
}

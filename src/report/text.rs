//! How wide text is on a terminal, and how it is made to fit. Pure.

use crate::torrent::is_odd;

/// Returns the most columns that a character takes: 2 if it is wide, as East Asian text and emoji are. Combining marks
/// count as 1, so a line is shorter than it may be rather than longer.
fn columns(c: char) -> usize {
    let wide = matches!(c,
        '\u{1100}'..='\u{115f}' | '\u{231a}'..='\u{231b}' | '\u{2329}'..='\u{232a}' | '\u{23e9}'..='\u{23f3}'
        | '\u{25fd}'..='\u{25fe}' | '\u{2600}'..='\u{27bf}' | '\u{2b1b}'..='\u{2b55}' | '\u{2e80}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97c}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe10}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{16fe0}'..='\u{1b2fb}' | '\u{1f000}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}');
    1 + usize::from(wide)
}

/// Returns the most columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// JSON that says the same, and can be looked at on a terminal whatever others wrote into it.
pub(super) fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match is_odd(c) {
            true => escaped += &format!("\\u{:04x}", u32::from(c)),
            false => escaped.push(c),
        }
    }
    escaped
}

/// The signs in our texts that not every locale and screen can show, and what stands for them there. The spaces tell them from
/// those in a name, which stays as it is.
const ASCII: [(&str, &str); 2] = [(" → ", " -> "), (", …", ", ...")];

/// Returns the text as the locale and the screen can show it.
pub(super) fn shown(mut text: String, unicode: bool) -> String {
    if !unicode {
        for (sign, ascii) in ASCII {
            text = text.replace(sign, ascii);
        }
    }
    text
}

/// Returns the text, or as much of its beginning as fits into `most` columns together with `…`.
pub(super) fn cut(text: &str, most: usize, unicode: bool) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let end = if unicode { "…" } else { "..." };
    let room = most.saturating_sub(width(end));
    let mut taken = 0;
    let fits = |c: &char| {
        taken += columns(*c);
        taken <= room
    };
    let begin: String = text.chars().take_while(fits).collect();
    let end: String = end.chars().take(most).collect();
    begin + &end
}

/// Returns the text, padded with spaces to `to` columns.
pub(super) fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// Breaks a line at spaces into lines of at most `most` columns; all but the first are indented. A word is never broken:
/// it may be an MD5 or a path that a user copies.
pub(super) fn wrap(line: &str, indent: usize, most: usize) -> Vec<String> {
    let (mut lines, mut rest) = (Vec::new(), line.to_owned());
    while width(&rest) > most {
        let Some(at) = break_at(&rest, indent, most) else {
            break;
        };
        let next = format!("{}{}", " ".repeat(indent), rest[at..].trim_start());
        rest.truncate(rest[..at].trim_end().len());
        lines.push(std::mem::replace(&mut rest, next));
    }
    lines.push(rest);
    lines
}

/// Returns the position of the last space that fits, or else of the first one after that.
fn break_at(line: &str, indent: usize, most: usize) -> Option<usize> {
    let words = line.len() - line.trim_start().len();
    let spaces = line.match_indices(' ').map(|(at, _)| at);
    let mut spaces = spaces.filter(|at| *at > words.max(indent));
    let mut last = spaces.next()?;
    for at in spaces {
        if width(line[..at].trim_end()) > most {
            break;
        }
        last = at;
    }
    (!line[last..].trim_start().is_empty()).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_fits() {
        for (text, most, unicode, expected) in [
            ("image.iso", 9, true, "image.iso"),
            ("image.iso", 8, true, "image.i…"),
            ("image.iso", 8, false, "image..."),
            ("image.iso", 2, false, ".."),
            ("image.iso", 0, true, ""),
            ("教室の画像.iso", 14, true, "教室の画像.iso"),
            ("教室の画像.iso", 8, true, "教室の…"),
            ("教室の画像.iso", 6, true, "教室…"),
            ("e\u{301}e\u{301}e\u{301}", 4, false, "e..."),
            ("🦀🦀🦀", 5, true, "🦀🦀…"),
        ] {
            let cut = cut(text, most, unicode);
            assert_eq!(cut, expected, "{text} in {most}");
            assert!(width(&cut) <= most, "{text} in {most}");
        }
        assert_eq!(pad("画像", 6), "画像  ");
        assert_eq!(pad("画像", 3), "画像");
    }

    #[test]
    fn a_log_says_the_same_without_what_drives_a_terminal() {
        let why = "教室 🦀 é \u{9b}31m \u{202e}x \u{7f}\n";
        let json = serde_json::to_string(why).expect("a string");
        let escaped = escaped(&json);
        assert!(!escaped.chars().any(is_odd), "{escaped}");
        assert!(escaped.contains("教室 🦀 é"), "{escaped}");
        let read: String = serde_json::from_str(&escaped).expect("still JSON");
        assert_eq!(read, why);
    }

    #[test]
    fn what_is_wrapped_is_broken_at_spaces_only() {
        for (line, most, expected) in [
            ("  one two", 9, vec!["  one two"]),
            ("  one two three", 9, vec!["  one two", "  three"]),
            ("  one two three", 8, vec!["  one", "  two", "  three"]),
            (
                "  MD5 0123456789abcdef then",
                8,
                vec!["  MD5", "  0123456789abcdef", "  then"],
            ),
            ("  0123456789abcdef", 8, vec!["  0123456789abcdef"]),
            ("  peer     out  ", 9, vec!["  peer", "  out  "]),
            ("  教室 画像", 8, vec!["  教室", "  画像"]),
            ("", 8, vec![""]),
        ] {
            assert_eq!(wrap(line, 2, most), expected, "{line:?} in {most}");
        }
    }
}

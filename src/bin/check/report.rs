//! The rows: their sentences, and their verdicts as people read them and as a grader does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::verdict::{No, Verdict};

/// The most events that are shown below a row.
const SHOWN: usize = 6;

/// A sentence of the assignment.
pub struct CourseRow {
    pub id: &'static str,
    /// `peer`, `tracker`, `both`, or why it isn't judged.
    pub shows_on: &'static str,
    expected: &'static str,
    /// In English, and in Portuguese.
    sentences: [&'static str; 2],
}

/// All rows of the two course texts.
pub fn rows() -> Vec<CourseRow> {
    let row = |line: &'static str| match line.split('|').collect::<Vec<_>>()[..] {
        [id, shows_on, expected, english, portuguese] => Some(CourseRow {
            id,
            shows_on,
            expected,
            sentences: [english, portuguese],
        }),
        _ => None,
    };
    include_str!("rows.txt").lines().filter_map(row).collect()
}

impl CourseRow {
    /// Whether it is judged on such a program.
    pub fn is_judged(&self, kind: &str) -> bool {
        self.shows_on == kind || self.shows_on == "both"
    }

    /// The sentence, in the language of the terminal.
    pub fn sentence(&self) -> &'static str {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter();
        let mut set = names.filter_map(|name| std::env::var(name).ok());
        let language = set.find(|value| !value.is_empty());
        self.sentences[usize::from(language.is_some_and(|name| name.starts_with("pt")))]
    }
}

/// The verdict in a word, and why.
pub fn in_short(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Ok(why) => ("holds", why),
        Err(No::Fails(why, _)) => ("fails", why),
        Err(No::CantTell(why)) => ("can't tell", why),
        Err(No::NotSpoken) => ("not spoken", "it doesn't speak the messages for this"),
    }
}

/// A line for a row; below a failing one, what was expected, what was sent and came, and the sentence.
pub fn text(row: &CourseRow, verdict: &Verdict) -> String {
    let (word, why) = in_short(verdict);
    let mut text = format!("{:<4}{word:<12}{why}\n", row.id);
    if let Err(No::Fails(_, shown)) = verdict {
        let _ = writeln!(text, "           expected: {}", row.expected);
        for event in shown.iter().take(SHOWN) {
            let _ = writeln!(text, "    {event}");
        }
        let _ = writeln!(text, "           « {} »", row.sentence());
    }
    text
}

/// A line with the rows that don't show on such a program, and why.
pub fn not_judged(kind: &str, rows: &[CourseRow]) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.is_judged(kind)) {
        reasons.entry(row.shows_on).or_default().push(row.id);
    }
    let reasons = reasons
        .iter()
        .map(|(why, ids)| format!("{} ({why})", ids.join(" ")));
    format!("not judged: {}", reasons.collect::<Vec<_>>().join("; "))
}

/// The file that graders read.
pub fn junit(kind: &str, judged: &[(&CourseRow, Verdict)]) -> String {
    let (mut cases, mut counts) = (String::new(), [0, 0]);
    for (row, verdict) in judged {
        let (word, why) = in_short(verdict);
        let [name, why, all] = [row.sentence(), why, &text(row, verdict)].map(escaped);
        let inner = match word {
            "holds" => String::new(),
            "fails" => format!("<failure message=\"{why}\">{all}</failure>"),
            _ => format!("<skipped message=\"{}: {why}\"/>", escaped(word)),
        };
        counts[0] += usize::from(word == "fails");
        counts[1] += usize::from(inner.starts_with("<skipped"));
        let name = format!("classname=\"{kind}\" name=\"{}: {name}\"", row.id);
        let _ = writeln!(cases, "<testcase {name}>{inner}</testcase>");
    }
    let [failures, skipped] = counts;
    let counts = format!("failures=\"{failures}\" skipped=\"{skipped}\"");
    let suite = format!(
        "testsuite name=\"{kind}\" tests=\"{}\" {counts}",
        judged.len()
    );
    format!("<?xml version=\"1.0\"?>\n<{suite}>\n{cases}</testsuite>\n")
}

/// Text within XML, which has no control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' => escaped += &format!("&#{};", u32::from(c)),
            c if c.is_control() && c != '\n' => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

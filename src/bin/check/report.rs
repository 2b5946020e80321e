//! The rows as people read them, and as a grader does.

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
    english: &'static str,
    portuguese: &'static str,
}

/// All rows of the two course texts.
pub fn rows() -> Vec<CourseRow> {
    let row = |line: &'static str| {
        let fields: Vec<&str> = line.split('|').collect();
        CourseRow {
            id: fields[0],
            shows_on: fields[1],
            english: fields[2],
            portuguese: fields[3],
        }
    };
    include_str!("rows.txt").lines().map(row).collect()
}

impl CourseRow {
    /// Whether it is judged on such a program.
    pub fn is_judged(&self, kind: &str) -> bool {
        self.shows_on == kind || self.shows_on == "both"
    }

    /// The sentence, in the language of the terminal.
    pub fn sentence(&self) -> &'static str {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut language = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(set);
        match language.next().is_some_and(|name| name.starts_with("pt")) {
            true => self.portuguese,
            false => self.english,
        }
    }
}

/// The verdict in a word, and why.
pub fn in_short(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Ok(why) => ("holds", why),
        Err(No::Fails { why, .. }) => ("fails", why),
        Err(No::CantTell(why)) => ("can't tell", why),
        Err(No::NotSpoken) => ("not spoken", "it doesn't speak the messages for this"),
    }
}

/// A line for a row; below a failing one, what was expected, what was sent and came, and the sentence.
pub fn text(row: &CourseRow, verdict: &Verdict) -> String {
    let (word, why) = in_short(verdict);
    let mut text = format!("{:<4}{word:<12}{why}\n", row.id);
    if let Err(No::Fails {
        expected, shown, ..
    }) = verdict
    {
        let _ = writeln!(text, "           expected: {expected}");
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
    let reason = |(why, ids): (&&str, &Vec<&str>)| format!("{} ({why})", ids.join(" "));
    let reasons: Vec<String> = reasons.iter().map(reason).collect();
    format!("not judged: {}", reasons.join("; "))
}

/// The file that graders read.
pub fn junit(kind: &str, judged: &[(&CourseRow, Verdict)]) -> String {
    let (mut cases, mut failures, mut skipped) = (String::new(), 0, 0);
    for (row, verdict) in judged {
        let (word, why) = in_short(verdict);
        let (name, why) = (escaped(row.sentence()), escaped(why));
        let inner = match word {
            "holds" => String::new(),
            "fails" => {
                failures += 1;
                let text = escaped(&text(row, verdict));
                format!("<failure message=\"{why}\">{text}</failure>")
            }
            word => {
                skipped += 1;
                format!("<skipped message=\"{}: {why}\"/>", escaped(word))
            }
        };
        let id = row.id;
        let _ = writeln!(
            cases,
            "<testcase classname=\"{kind}\" name=\"{id}: {name}\">{inner}</testcase>"
        );
    }
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\"",
        judged.len()
    );
    format!("<?xml version=\"1.0\"?>\n<testsuite name=\"{kind}\" {counts}>\n{cases}</testsuite>\n")
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

//! The rows as people read them, and as a grader does.

use std::fmt::Write as _;

use crate::verdict::Verdict;

/// A sentence of the assignment.
pub struct Row {
    pub id: &'static str,
    /// `peer`, `tracker`, `both`, or `no: ` and why it isn't judged.
    shows_on: &'static str,
    english: &'static str,
    portuguese: &'static str,
}

/// All rows of the two course texts.
pub fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut fields = line.split('|');
        Some(Row {
            id: fields.next()?,
            shows_on: fields.next()?,
            english: fields.next()?,
            portuguese: fields.next()?,
        })
    };
    include_str!("rows.txt").lines().filter_map(row).collect()
}

impl Row {
    /// Why the row isn't judged on such a program; none where it is.
    pub fn not_judged(&self, kind: &str) -> Option<String> {
        match self.shows_on.strip_prefix("no: ") {
            Some(why) => Some(why.to_owned()),
            None if self.shows_on == kind || self.shows_on == "both" => None,
            None => Some(format!("it shows on a {}", self.shows_on)),
        }
    }

    /// On what it shows.
    pub fn kinds(&self) -> &str {
        self.shows_on
    }

    /// The sentence, in the language of the terminal.
    pub fn sentence(&self) -> &'static str {
        let language = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        match language.is_some_and(|language| language.starts_with("pt")) {
            true => self.portuguese,
            false => self.english,
        }
    }
}

impl Verdict {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Holds(_) => "holds",
            Self::Fails { .. } => "fails",
            Self::CantTell(_) => "can't tell",
            Self::NotSpoken => "not spoken",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Holds(why) | Self::CantTell(why) | Self::Fails { why, .. } => why,
            Self::NotSpoken => "the program doesn't speak the messages for it",
        }
    }
}

/// A line for a row, and below a failing one what was expected, what came, and the sentence.
pub fn text(row: &Row, verdict: &Verdict) -> String {
    let mut text = format!("{:<4} {:<11} {}\n", row.id, verdict.word(), verdict.why());
    if let Verdict::Fails { shown, .. } = verdict {
        for line in shown {
            let _ = writeln!(text, "       {line}");
        }
        let _ = writeln!(text, "       « {} »", row.sentence());
    }
    text
}

/// The file that graders read.
pub fn junit(kind: &str, judged: &[(&Row, Verdict)]) -> String {
    let count = |word: &str| {
        judged
            .iter()
            .filter(|(_, verdict)| verdict.word() == word)
            .count()
    };
    let skipped = judged.len() - count("holds") - count("fails");
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{kind}\" tests=\"{}\" failures=\"{}\" skipped=\"{skipped}\">\n",
        judged.len(),
        count("fails")
    );
    for (row, verdict) in judged {
        let why = escaped(verdict.why());
        let inner = match verdict {
            Verdict::Holds(_) => String::new(),
            Verdict::Fails { .. } => format!(
                "<failure message=\"{why}\">{}</failure>",
                escaped(&text(row, verdict))
            ),
            _ => format!("<skipped message=\"{}: {why}\"/>", escaped(verdict.word())),
        };
        let _ = writeln!(
            xml,
            "  <testcase classname=\"{kind}\" name=\"{}: {}\">{inner}</testcase>",
            row.id,
            escaped(row.sentence())
        );
    }
    xml + "</testsuite>\n"
}

/// Text within XML, which has no control characters.
fn escaped(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
        .collect()
}

//! The rows of the two course texts, and their verdicts as people read them and as a grader does. What is told of each row
//! stands in `rows.txt`.

use std::fmt::Write as _;

/// A sentence of the assignment, as far as it shows on one kind of program.
pub struct CourseRow {
    pub id: &'static str,
    /// `peer`, `tracker`, or why it isn't judged.
    pub shows_on: &'static str,
    /// The rows whose failing explains that this one fails.
    pub causes: &'static str,
    /// How often it must be seen to hold, what is said then, and what otherwise; `{n}` is how often it was.
    pub needs: usize,
    pub holds: &'static str,
    pub untold: &'static str,
    expected: &'static str,
    /// In English, and in Portuguese.
    sentences: [&'static str; 2],
}

/// What is said of a row, and why.
#[derive(Clone, Debug)]
pub enum RowVerdict {
    Holds(String),
    /// With the lines that show it.
    Fails(String, Vec<String>),
    CantTell(String),
    /// The program doesn't speak the messages that the row is about.
    NotSpoken,
}

/// All rows, in the order of the course texts.
pub fn rows() -> Vec<CourseRow> {
    let lines = include_str!("rows.txt").lines().skip(1);
    lines.map(CourseRow::parse).collect()
}

impl CourseRow {
    fn parse(line: &'static str) -> Self {
        let mut fields = line.split('|');
        let mut next = || fields.next().unwrap_or_default();
        Self {
            id: next(),
            shows_on: next(),
            causes: next(),
            needs: next().parse().unwrap_or(1),
            holds: next(),
            untold: next(),
            expected: next(),
            sentences: [next(), next()],
        }
    }

    /// A line of the list of rows.
    pub fn line(&self) -> String {
        let (id, on, sentence) = (self.id, self.shows_on, self.sentence());
        match ["peer", "tracker"].contains(&on) {
            true => format!("{id:<4}{on:<9}{sentence}\n"),
            false => format!("{id:<4}{:<9}{sentence} (Not judged: {on}.)\n", "-"),
        }
    }

    /// The sentence, in the language of the terminal.
    pub fn sentence(&self) -> &'static str {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter();
        let mut set = names.filter_map(|name| std::env::var(name).ok());
        let language = set.find(|value| !value.is_empty());
        self.sentences[usize::from(language.is_some_and(|name| name.starts_with("pt")))]
    }

    /// A line for the row; below a failing one, what was expected, what was sent and came, and the sentence.
    pub fn text(&self, verdict: &RowVerdict) -> String {
        let (word, why) = verdict.in_short();
        let mut text = format!("{:<4}{word:<12}{why}\n", self.id);
        if let RowVerdict::Fails(_, shown) = verdict {
            let _ = writeln!(text, "           expected: {}", self.expected);
            for line in shown {
                let _ = writeln!(text, "    {line}");
            }
            let _ = writeln!(text, "           « {} »", self.sentence());
        }
        text
    }
}

impl RowVerdict {
    /// In a word, and why.
    pub fn in_short(&self) -> (&'static str, &str) {
        match self {
            Self::Holds(why) => ("holds", why),
            Self::Fails(why, _) => ("fails", why),
            Self::CantTell(why) => ("can't tell", why),
            Self::NotSpoken => ("not spoken", "it doesn't speak the messages for this"),
        }
    }
}

/// The file that graders read.
pub fn junit(kind: &str, judged: &[(&CourseRow, RowVerdict)]) -> String {
    let (mut cases, mut failures, mut skipped) = (String::new(), 0, 0);
    for (row, verdict) in judged {
        let (word, why) = verdict.in_short();
        let [name, why, all] = [row.sentence(), why, &row.text(verdict)].map(escaped);
        let inner = match verdict {
            RowVerdict::Holds(_) => String::new(),
            RowVerdict::Fails(..) => format!("<failure message=\"{why}\">{all}</failure>"),
            _ => format!("<skipped message=\"{}: {why}\"/>", escaped(word)),
        };
        failures += usize::from(word == "fails");
        skipped += usize::from(inner.starts_with("<skipped"));
        let name = format!("classname=\"{kind}\" name=\"{}: {name}\"", row.id);
        let _ = writeln!(cases, "<testcase {name}>{inner}</testcase>");
    }
    let n = judged.len();
    let counts = format!("tests=\"{n}\" failures=\"{failures}\" skipped=\"{skipped}\"");
    suite(kind, &counts, &cases)
}

/// The same where nothing could be judged.
pub fn junit_of_error(kind: &str, why: &str) -> String {
    let error = format!("<error message=\"{}\"/>", escaped(why));
    let case = format!("<testcase classname=\"{kind}\" name=\"the program\">{error}</testcase>\n");
    suite(kind, "tests=\"1\" errors=\"1\"", &case)
}

fn suite(kind: &str, counts: &str, cases: &str) -> String {
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

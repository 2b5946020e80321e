//! The rows of the two course texts, and their verdicts as people read them and as a grader does. What is told of each
//! row stands in `rows.json`.

use serde::Deserialize;

pub const HOLDS: &str = "holds";
pub const FAILS: &str = "fails";
pub const CANT_TELL: &str = "can't tell";
/// The program doesn't speak the messages that the row is about.
pub const NOT_SPOKEN: &str = "not spoken";

/// A sentence of the assignment, as far as it shows on one kind of program, and what is said of it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct CourseRow {
    pub id: &'static str,
    /// `peer`, `tracker`, or why it isn't judged.
    pub shows_on: &'static str,
    /// The rows whose failing explains that this one fails.
    pub causes: Vec<&'static str>,
    /// How often it must be seen to hold, what is said then, and what otherwise; `{n}` is how often it was.
    pub needs: usize,
    pub holds: &'static str,
    pub untold: &'static str,
    expected: String,
    /// In English, and in Portuguese.
    sentences: [String; 2],
    /// The verdict in a word and in a line; where it fails, with the lines that show it.
    pub word: &'static str,
    pub why: String,
    pub shown: Vec<String>,
}

/// All rows, in the order of the course texts.
pub fn rows() -> Vec<CourseRow> {
    serde_json::from_str(include_str!("rows.json")).expect("each has the fields of a row")
}

impl CourseRow {
    /// The sentence, in the language of the terminal.
    fn sentence(&self) -> &str {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter();
        let mut set = names.filter_map(|name| std::env::var(name).ok());
        let language = set.find(|value| !value.is_empty()).unwrap_or_default();
        &self.sentences[usize::from(language.starts_with("pt"))]
    }

    /// A line of the list of rows.
    pub fn line(&self) -> String {
        let (id, on, sentence) = (self.id, self.shows_on, self.sentence());
        match on {
            "peer" | "tracker" => format!("{id:<4}{on:<9}{sentence}"),
            _ => format!("{id:<4}{:<9}{sentence} (Not judged: {on}.)", "-"),
        }
    }

    /// A line for the row; below a failing one, what was expected, what was sent and came, and the sentence.
    pub fn text(&self) -> String {
        let mut text = format!("{:<4}{:<12}{}", self.id, self.word, self.why);
        if self.word == FAILS {
            text += &format!("\n           expected: {}", self.expected);
            text.extend(self.shown.iter().map(|line| format!("\n    {line}")));
            text += &format!("\n           « {} »", self.sentence());
        }
        text
    }

    /// The row for graders.
    fn case(&self) -> String {
        let texts = [self.sentence(), &self.why, &self.text()];
        let [sentence, why, text] = texts.map(escaped);
        let inner = match self.word {
            HOLDS => String::new(),
            FAILS => format!("<failure message=\"{why}\">{text}</failure>"),
            word => format!("<skipped message=\"{word}: {why}\"/>"),
        };
        let named = format!(
            "classname=\"{}\" name=\"{}: {sentence}\"",
            self.shows_on, self.id
        );
        format!("<testcase {named}>{inner}</testcase>\n")
    }
}

/// The file that graders read: the rows, or why none can be judged.
pub fn junit(kind: &str, rows: &Result<Vec<CourseRow>, String>) -> String {
    let named = format!("classname=\"{kind}\" name=\"the program\"");
    let error = |why| format!("<testcase {named}><error message=\"{why}\"/></testcase>\n");
    let cases = match rows {
        Ok(rows) => rows.iter().map(CourseRow::case).collect(),
        Err(why) => error(escaped(why)),
    };
    let elements = ["testcase", "failure", "skipped", "error"];
    let counted = elements.map(|name| cases.matches(&format!("<{name} ")).count());
    let [tests, failures, skipped, errors] = counted;
    let mut suite = format!("<testsuite name=\"{kind}\" tests=\"{tests}\" failures=\"{failures}\"");
    suite += &format!(" skipped=\"{skipped}\" errors=\"{errors}\">\n{cases}</testsuite>\n");
    "<?xml version=\"1.0\"?>\n".to_owned() + &suite
}

/// Text within XML, which has no control characters.
fn escaped(text: &str) -> String {
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    let text = text.replace('&', "&amp;").replace('"', "&quot;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

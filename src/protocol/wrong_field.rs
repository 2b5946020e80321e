//! Names the field of a message that isn't what it must be, for whoever writes a program that speaks the protocol.
//!
//! `serde` tries several messages where it can't tell which is meant, and then says only that none fits. Here the message that
//! was meant is found by what it has, and compared with that message's fields.

use serde_json::Value;

use crate::causes::NotUnderstood;
use crate::torrent::legible;

/// The most characters of a value that are repeated.
const VALUE_SHOWN: usize = 40;

/// What a field must be.
enum FieldKind {
    Port,
    /// A whole number up to this one.
    Whole(u64),
    Seconds,
    Number,
    Text,
    Md5,
    Truth,
    List(&'static FieldKind),
    /// An object with any keys.
    Map(&'static FieldKind),
    Object(Fields),
    /// Whatever `serde` takes.
    Any,
}

use FieldKind::{Any, List, Map, Md5, Number, Object, Port, Seconds, Text, Truth, Whole};

/// The fields of a message or a part of one; a name that ends with `?` may be missing.
type Fields = &'static [(&'static str, FieldKind)];

const U32: FieldKind = Whole(u32::MAX as u64);
const U64: FieldKind = Whole(u64::MAX);

const PEER: Fields = &[
    ("ip", Text),
    ("port", Port),
    ("file_list", List(&Text)),
    ("v?", U32),
    ("pieces?", Map(&Text)),
];
const COMING: FieldKind = Object(&[
    ("name", Text),
    ("size", U64),
    ("done", U64),
    ("peer?", Text),
    ("head?", HEAD),
]);
const HEAD: FieldKind = Object(&[("size", U64), ("md5", Md5), ("checkpoints", Md5)]);
const OTHER: FieldKind = Object(&[("peer", Text), ("md5", Md5)]);
const SUMMARY: FieldKind = Object(&[
    ("name", Text),
    ("size", U64),
    ("md5", Md5),
    ("n_pieces", U32),
    ("publisher", Text),
    ("published?", U64),
    ("checkpoints?", Md5),
    ("here?", Truth),
    ("pinned?", Truth),
    ("others?", List(&OTHER)),
]);
const PUBLICATION: FieldKind = Object(&[
    ("name", Text),
    ("size", U64),
    ("md5", Md5),
    ("checkpoints", Md5),
    ("own", Truth),
    ("pinned?", Truth),
    ("replace?", Truth),
    ("published?", U64),
    ("publisher?", Text),
]);
const HAVE: FieldKind = Object(&[("name", Text), ("md5", Md5), ("pieces", Any)]);

const REPORT: FieldKind = Object(&[
    ("name", Text),
    ("md5?", Md5),
    ("size", U64),
    ("here", U64),
    ("whole", Truth),
    ("mine?", Truth),
    ("unconfirmed?", Truth),
    ("speed", Number),
    ("left?", Seconds),
    ("state", Text),
]);

/// The messages that say in `msg` which they are.
const MESSAGES: [(&str, Fields); 12] = [
    (
        "ping",
        &[
            ("port", Port),
            ("v?", U32),
            ("wants?", List(&Text)),
            ("edition?", U64),
        ],
    ),
    (
        "file_list",
        &[
            ("port", Port),
            ("files", List(&Text)),
            ("v?", U32),
            ("pieces?", Map(&Text)),
            ("coming?", List(&COMING)),
            ("others?", Map(&Md5)),
        ],
    ),
    (
        "publish",
        &[("port", Port), ("key", Text), ("files", List(&PUBLICATION))],
    ),
    ("get_torrent", &[("name", Text)]),
    (
        "report",
        &[
            ("port", Port),
            ("host", Text),
            ("folder?", Md5),
            ("files", List(&REPORT)),
            ("ended?", Object(&[("code", Whole(255)), ("why", Text)])),
        ],
    ),
    ("status", &[("only?", Text)]),
    (
        "hello",
        &[
            ("v", U32),
            ("id", Text),
            ("port", Port),
            ("have?", List(&HAVE)),
        ],
    ),
    (
        "get",
        &[
            ("n", U64),
            ("name", Text),
            ("md5", Md5),
            ("pieces", List(&U32)),
            ("wait", Seconds),
        ],
    ),
    (
        "piece",
        &[
            ("n", U64),
            ("idx", U32),
            ("len", U32),
            ("news?", List(&HAVE)),
        ],
    ),
    ("news", &[("n", U64), ("news?", List(&HAVE))]),
    ("gone", &[("n", U64), ("name", Text)]),
    ("refused", &[("why", Text)]),
];

/// The messages that don't, by a field that only they have.
const UNNAMED: [(&str, Fields); 5] = [
    ("filename", &[("filename", Text)]),
    ("head", &[("head", Text), ("md5", Md5)]),
    (
        "peers",
        &[
            ("v", U32),
            ("local", Truth),
            ("edition?", U64),
            ("n_peers?", U64),
            ("sweep_every?", Seconds),
            ("peers", List(&Object(PEER))),
            ("torrents?", List(&SUMMARY)),
            ("n_files?", U64),
            ("coming?", List(&COMING)),
        ],
    ),
    ("error", &[("error", Text)]),
    ("port", &[("msg", Text)]),
];

/// Returns what is wrong with the first field that isn't what it must be.
pub(super) fn wrong_field(bytes: &[u8]) -> Option<NotUnderstood> {
    let message: Value = serde_json::from_slice(bytes).ok()?;
    if message.is_array() {
        return fault_of(&message, &List(&Object(PEER)), "");
    }
    let fields = match message.get("msg") {
        Some(Value::String(msg)) => MESSAGES.iter().find(|(name, _)| name == msg),
        Some(_) => return fault_of(&message, &Object(&[("msg", Text)]), ""),
        None => UNNAMED
            .iter()
            .find(|(field, _)| message.get(field).is_some()),
    };
    let (_, fields) = fields?;
    fields_fault(&message, fields, "")
}

/// Returns what is wrong with `msg`, if the parser says that no message is called so, and which are expected at this place.
/// `said` is all that it says: it repeats the `msg` before that, which is somebody else's text.
pub(super) fn unknown_message(bytes: &[u8], said: &str) -> Option<NotUnderstood> {
    let message: Value = serde_json::from_slice(bytes).ok()?;
    let msg = message.get("msg")?;
    let rest = said.strip_prefix("unknown variant ")?;
    let (_, names) = rest.rsplit_once(", expected ")?;
    let names = names.split(" at line").next()?.replace('`', "\"");
    Some(NotUnderstood::WrongField {
        path: "msg".to_owned(),
        expected: names,
        got: described(msg),
    })
}

fn fields_fault(object: &Value, fields: Fields, path: &str) -> Option<NotUnderstood> {
    fields.iter().find_map(|(name, kind)| {
        let needed = name.trim_end_matches('?');
        let path = match path {
            "" => needed.to_owned(),
            _ => format!("{path}.{needed}"),
        };
        match object.get(needed) {
            Some(value) => fault_of(value, kind, &path),
            None if needed.len() < name.len() => None,
            None => Some(NotUnderstood::MissingField {
                path,
                expected: kind.described(),
            }),
        }
    })
}

/// Returns what is wrong with a value, or with the first wrong one within it.
fn fault_of(value: &Value, kind: &FieldKind, path: &str) -> Option<NotUnderstood> {
    if !kind.fits(value) {
        return Some(NotUnderstood::WrongField {
            path: path.to_owned(),
            expected: kind.described(),
            got: described(value),
        });
    }
    match (kind, value) {
        (List(each), Value::Array(values)) => {
            let mut values = values.iter().enumerate();
            values.find_map(|(at, value)| fault_of(value, each, &format!("{path}[{at}]")))
        }
        (Map(each), Value::Object(values)) => values
            .iter()
            .find_map(|(key, value)| fault_of(value, each, &format!("{path}.{}", cut(key)))),
        (Object(fields), object) => fields_fault(object, fields, path),
        _ => None,
    }
}

impl FieldKind {
    fn fits(&self, value: &Value) -> bool {
        let is_whole = |most: u64| value.as_u64().is_some_and(|number| number <= most);
        match self {
            Port => is_whole(u16::MAX.into()),
            Whole(most) => is_whole(*most),
            Seconds | Number => value.is_number(),
            Text => value.is_string(),
            Md5 => value.as_str().is_some_and(|text| {
                text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            }),
            Truth => value.is_boolean(),
            List(_) => value.is_array(),
            Map(_) | Object(_) => value.is_object(),
            Any => true,
        }
    }

    fn described(&self) -> String {
        match self {
            Port => "a whole number from 1 to 65535".to_owned(),
            Whole(most) => format!("a whole number from 0 to {most}"),
            Seconds => "a number of seconds".to_owned(),
            Number => "a number".to_owned(),
            Text => "a string".to_owned(),
            Md5 => "a string of 32 hexadecimal digits".to_owned(),
            Truth => "true or false".to_owned(),
            List(Text) => "a list of strings".to_owned(),
            List(_) => "a list".to_owned(),
            Map(_) | Object(_) => "an object".to_owned(),
            Any => "there".to_owned(),
        }
    }
}

/// A value's type and, cut if it is long, the value.
fn described(value: &Value) -> String {
    let kind = match value {
        Value::String(_) => "the string ",
        Value::Number(_) => "the number ",
        Value::Array(_) => "the list ",
        Value::Object(_) => "the object ",
        Value::Null | Value::Bool(_) => "",
    };
    format!("{kind}{}", cut(&value.to_string()))
}

fn cut(text: &str) -> String {
    let begin: String = text.chars().take(VALUE_SHOWN).collect();
    let more = if begin.len() < text.len() { "..." } else { "" };
    format!("{}{more}", legible(&begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Answer, FirstMessage, PingAnswer, Reply, ToTracker, parse};

    #[test]
    fn a_wrong_field_is_named_with_its_path_type_and_value() {
        for (message, expected) in [
            (
                r#"{"head": "b.iso", "md5": 5}"#,
                r#"expected "md5" to be a string of 32 hexadecimal digits, got the number 5"#,
            ),
            (
                r#"{"port": "41120", "msg": "ping"}"#,
                r#"expected "port" to be a whole number from 1 to 65535, got the string "41120""#,
            ),
            (
                r#"{"port": 70000, "msg": "ping", "v": 1}"#,
                r#"expected "port" to be a whole number from 1 to 65535, got the number 70000"#,
            ),
            (
                r#"{"port": -1, "msg": "ping"}"#,
                r#"expected "port" to be a whole number from 1 to 65535, got the number -1"#,
            ),
            (
                r#"{"port": 41120.5, "msg": "ping"}"#,
                r#"expected "port" to be a whole number from 1 to 65535, got the number 41120.5"#,
            ),
            (
                r#"{"msg": "ping"}"#,
                r#"expected "port", a whole number from 1 to 65535, which is missing"#,
            ),
            (
                r#"{"port": 1, "files": []}"#,
                r#"expected "msg", a string, which is missing"#,
            ),
            (
                r#"{"port": 1, "msg": 7}"#,
                r#"expected "msg" to be a string, got the number 7"#,
            ),
            (
                r#"{"port": 1, "msg": "file_list", "files": "a.txt"}"#,
                r#"expected "files" to be a list of strings, got the string "a.txt""#,
            ),
            (
                r#"{"port": 1, "msg": "file_list", "files": ["a.txt", null]}"#,
                r#"expected "files[1]" to be a string, got null"#,
            ),
            (
                r#"{"port": 1, "msg": "file_list", "files": [], "others": {"a": "99"}}"#,
                r#"expected "others.a" to be a string of 32 hexadecimal digits, got the string "99""#,
            ),
            (
                r#"[{"ip": "10.0.0.7", "port": 1, "file_list": []}, {"ip": 7, "port": 1, "file_list": []}]"#,
                r#"expected "[1].ip" to be a string, got the number 7"#,
            ),
            (
                r#"{"v": 1, "local": true, "peers": [{"ip": "10.0.0.7", "port": "1", "file_list": []}]}"#,
                r#"expected "peers[0].port" to be a whole number from 1 to 65535, got the string "1""#,
            ),
            (
                r#"{"v": 1, "local": "no", "peers": []}"#,
                r#"expected "local" to be true or false, got the string "no""#,
            ),
            (
                r#"{"msg": "report", "port": 1, "host": "pc07", "files": [{"name": "a", "size": "9"}]}"#,
                r#"expected "files[0].size" to be a whole number from 0 to 18446744073709551615, got the string "9""#,
            ),
            (
                r#"{"msg": "report", "port": 1, "host": 7, "files": []}"#,
                r#"expected "host" to be a string, got the number 7"#,
            ),
            (
                r#"{"filename": ["a.txt"]}"#,
                r#"expected "filename" to be a string, got the list ["a.txt"]"#,
            ),
            (
                r#"{"msg": "piece", "n": 1, "idx": 2, "len": {}}"#,
                r#"expected "len" to be a whole number from 0 to 4294967295, got the object {}"#,
            ),
        ] {
            let found = wrong_field(message.as_bytes()).map(|fault| fault.to_string());
            assert_eq!(found.as_deref(), Some(expected), "{message}");
        }
        let long = format!(
            r#"{{"msg": "file_list", "port": 1, "files": "{}"}}"#,
            "x".repeat(1000)
        );
        let found = wrong_field(long.as_bytes()).expect("no list").to_string();
        assert!(found.len() < 150, "{found}");
    }

    #[test]
    fn an_unknown_message_is_not_answered_with_its_own_text() {
        for own in ["x, expected \u{202e}evil", &"x, expected evil ".repeat(100)] {
            let message = serde_json::json!({"msg": own}).to_string();
            let fault = parse::<ToTracker>(message.as_bytes()).expect_err("no message");
            let said = fault.to_string();
            let (expected, _) = said.split_once(", got").expect("both");
            assert!(expected.contains("\"ping\""), "{said}");
            assert!(!expected.contains("evil"), "{said}");
        }
    }

    #[test]
    fn what_is_no_message_at_all_has_no_wrong_field() {
        for message in [
            r#"{"port": 1, "msg": "pong"}"#,
            r#"{"other": 1}"#,
            "[]",
            "no JSON",
        ] {
            assert_eq!(wrong_field(message.as_bytes()), None, "{message}");
        }
    }

    /// The table says of no message that is understood that it is wrong.
    #[test]
    fn the_documented_messages_have_no_wrong_field() {
        let documented = include_str!("../protocol.rs");
        let samples = documented
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let text: String = samples.map(|line| format!("{}\n", &line[3..])).collect();
        let text = text.replace("\"…\"", "\"d41d8cd98f00b204e9800998ecf8427e\"");
        let text = text.replace(", …", "");
        let (mut n_samples, mut rest) = (0, text.as_str());
        while let Some(at) = rest.find(['{', '[']) {
            rest = &rest[at..];
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let Some(Ok(value)) = values.next() else {
                rest = &rest[1..];
                continue;
            };
            rest = &rest[values.byte_offset()..];
            let bytes = value.to_string();
            let bytes = bytes.as_bytes();
            let is_understood = parse::<ToTracker>(bytes).is_ok()
                || parse::<PingAnswer>(bytes).is_ok()
                || parse::<FirstMessage>(bytes).is_ok()
                || parse::<Answer>(bytes).is_ok()
                || parse::<Reply>(bytes).is_ok();
            if is_understood {
                n_samples += 1;
                assert_eq!(wrong_field(bytes), None, "{value}");
            }
        }
        assert!(n_samples > 10, "{n_samples}");
    }
}

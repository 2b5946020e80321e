//! Names the field of a message that is of the wrong kind, for whoever writes a program that speaks the protocol.
//!
//! `serde` says only that no message fits, as it tries several.

use serde_json::Value;

use crate::torrent::legible;

/// The most characters of a value that are repeated.
const SHOWN: usize = 40;

/// The fields that a program of a course sends, and what each is.
const FIELDS: [(&str, &str, fn(&Value) -> bool); 7] = [
    ("port", "a number from 0 to 65535", is_port),
    ("msg", "a string", Value::is_string),
    ("files", "a list of strings", is_list_of_strings),
    ("file_list", "a list of strings", is_list_of_strings),
    ("filename", "a string", Value::is_string),
    ("ip", "a string", Value::is_string),
    ("v", "a number", Value::is_u64),
];

fn is_port(value: &Value) -> bool {
    value.as_u64().is_some_and(|port| port <= u16::MAX.into())
}

fn is_list_of_strings(value: &Value) -> bool {
    let list = value.as_array();
    list.is_some_and(|list| list.iter().all(Value::is_string))
}

/// Returns what is wrong with the first field that is of the wrong kind: in a message, or in one of a list of peers.
pub(super) fn wrong_field(bytes: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(bytes).ok()?;
    match &message {
        Value::Array(peers) => {
            let faults = peers.iter().enumerate();
            let mut faults = faults.filter_map(|(at, peer)| in_object(peer, &format!("[{at}].")));
            faults.next()
        }
        one => in_object(one, ""),
    }
}

fn in_object(value: &Value, path: &str) -> Option<String> {
    FIELDS.iter().find_map(|(name, expected, fits)| {
        let value = value.get(name).filter(|value| !fits(value))?;
        let shown = value.to_string();
        let cut: String = shown.chars().take(SHOWN).collect();
        let more = if cut.len() < shown.len() { "…" } else { "" };
        let kind = kind_of(value);
        let got = legible(&cut);
        Some(format!(
            "expected {path}{name} to be {expected}, got {kind}{got}{more}"
        ))
    })
}

/// What a value is, before it is shown.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "the string ",
        Value::Number(_) => "the number ",
        Value::Array(_) => "the list ",
        Value::Object(_) => "the object ",
        Value::Null | Value::Bool(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_with_its_value() {
        for (message, expected) in [
            (
                r#"{"port": "41120", "msg": "ping"}"#,
                Some(r#"expected port to be a number from 0 to 65535, got the string "41120""#),
            ),
            (
                r#"{"port": 70000, "msg": "ping"}"#,
                Some("expected port to be a number from 0 to 65535, got the number 70000"),
            ),
            (
                r#"{"port": 1, "msg": "file_list", "files": "a.txt"}"#,
                Some(r#"expected files to be a list of strings, got the string "a.txt""#),
            ),
            (
                r#"[{"ip": "10.0.0.7", "port": 1, "file_list": []}, {"ip": 7, "port": 1}]"#,
                Some("expected [1].ip to be a string, got the number 7"),
            ),
            (
                r#"{"filename": null}"#,
                Some("expected filename to be a string, got null"),
            ),
            (r#"{"port": 1, "msg": "ping"}"#, None),
            (r#"{"other": 1}"#, None),
            ("[1, 2]", None),
            ("no JSON", None),
        ] {
            let found = wrong_field(message.as_bytes());
            assert_eq!(found.as_deref(), expected, "{message}");
        }
        let long = format!(r#"{{"files": "{}"}}"#, "x".repeat(1000));
        let found = wrong_field(long.as_bytes()).expect("no list");
        assert!(found.len() < 150, "{found}");
    }
}

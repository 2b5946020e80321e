//! A real browser without a window, driven over a pipe by Chromium's DevTools protocol. Where no Chromium is found the tests
//! with it say so and are left out, but not where `BITTORRENTISH_BROWSER=must` is set, as `.ci/run` does.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use super::support::{DEADLINE, Temp, until};

/// What Chromium is called on different systems.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// A browser with one page open. Killed with this value.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    next: u64,
    session: Option<String>,
    /// What the page showed when it was waited for last.
    shown: Value,
    _profile: Temp,
}

/// A browser on this machine, or in a network namespace of it; none where there is no Chromium.
pub fn browser(namespace: Option<&str>) -> Option<Browser> {
    let must = std::env::var("BITTORRENTISH_BROWSER").is_ok_and(|must| must == "must");
    let is_there = |name: &&str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|out| out.status.success())
    };
    match NAMES.into_iter().find(is_there) {
        Some(name) => Some(Browser::start(name, namespace)),
        None if must => panic!("BITTORRENTISH_BROWSER=must, and there is none of {NAMES:?}"),
        None => {
            eprintln!("left out, as this needs one of {NAMES:?}");
            None
        }
    }
}

impl Browser {
    fn start(name: &str, namespace: Option<&str>) -> Self {
        let profile = Temp::new();
        // it reads its orders from descriptor 3, and writes its answers to 4
        let pipes = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
        let by: &[&str] = match namespace {
            Some(namespace) => &["ip", "netns", "exec", namespace, "sh", "-c", pipes, name],
            None => &["sh", "-c", pipes, name],
        };
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg("--headless=new");
        // without a sandbox, as it refuses to make one for root
        command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--disable-background-networking"]);
        command.args(["--no-proxy-server", "--remote-debugging-pipe"]);
        // another site's name that points here
        command.arg("--host-resolver-rules=MAP evil.example 127.0.0.1");
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let pipe = Stdio::piped;
        let mut child = command
            .stdin(pipe())
            .stdout(pipe())
            .spawn()
            .expect("a shell");
        let to = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, from) = channel();
        thread::spawn(move || {
            for answer in answers.split(0).map_while(Result::ok) {
                let answer = serde_json::from_slice(&answer).expect("JSON");
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            next: 0,
            session: None,
            shown: Value::Null,
            _profile: profile,
        };
        let made = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": made["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", target);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser
    }

    /// One order, and its answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut order = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&order).expect("JSON");
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let answer = self.from.recv_timeout(DEADLINE);
            let answer = answer.unwrap_or_else(|_| panic!("no answer to {order}"));
            if answer["id"] == self.next {
                assert!(answer.get("error").is_none(), "{order}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens a page; text in this language is wanted.
    #[track_caller]
    pub fn open(&mut self, url: &str, language: &str) {
        let agent = json!({ "userAgent": "test", "acceptLanguage": language });
        self.call("Emulation.setUserAgentOverride", agent);
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
    }

    /// The value of an expression, once its promise is kept.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let came = self.call("Runtime.evaluate", params);
        assert!(
            came.get("exceptionDetails").is_none(),
            "{expression}: {came}"
        );
        came["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        // a page that is still being loaded lacks what is asked about
        let expression =
            format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()");
        let text = "document.body && document.body.innerText";
        until(&format!("{expression} in the page"), || {
            if self.eval(&expression) == true {
                return Some(());
            }
            self.shown = self.eval(text);
            thread::sleep(std::time::Duration::from_millis(50));
            None
        });
    }

    /// Chooses files in a field, as a person does in its dialogue.
    #[track_caller]
    pub fn choose(&mut self, selector: &str, file: &Path) {
        // numbers of nodes are forgotten when the document changes, as while it is loaded
        let expression = format!("document.querySelector('{selector}')");
        let node = self.call("Runtime.evaluate", json!({ "expression": expression }));
        let files = json!({ "objectId": node["result"]["objectId"], "files": [file] });
        self.call("DOM.setFileInputFiles", files);
    }

    /// Writes what is seen into `BITTORRENTISH_SCREENSHOTS`, where that is set, at three widths, light and dark.
    pub fn screenshots(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("BITTORRENTISH_SCREENSHOTS") else {
            return;
        };
        for (width, scheme) in [400, 900, 1600].iter().zip([["light", "dark"]; 3]) {
            for scheme in scheme {
                let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
                self.call("Emulation.setDeviceMetricsOverride", size);
                let dark = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
                self.call("Emulation.setEmulatedMedia", json!({ "features": dark }));
                // the colours of its bars are drawn with the next look
                self.eval("look(); new Promise((done) => setTimeout(done, 300))");
                let all = json!({ "format": "png", "captureBeyondViewport": true });
                let shot = self.call("Page.captureScreenshot", all);
                let png = base64(shot["data"].as_str().expect("a picture"));
                let path = Path::new(&dir).join(format!("{name}-{width}-{scheme}.png"));
                fs::write(path, png).expect("a folder for screenshots");
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the page showed {}", self.shown);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes base64 for what it stands for.
fn base64(text: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let values = text.chars().map_while(|digit| digits.find(digit));
    let (mut bits, mut n, mut bytes) = (0_u32, 0, Vec::new());
    for value in values {
        (bits, n) = (bits << 6 | value as u32, n + 6);
        if n >= 8 {
            n -= 8;
            bytes.push((bits >> n) as u8);
        }
    }
    bytes
}

//! The walk in `src/lib.rs` leaves nothing out: a tracker and two peers hand over one small file in their default way, the
//! compiler's coverage counters record which of the crate's functions ran, and each of these has its place in `src/lib.rs`.
//!
//! - A function that the four paths link ran.
//! - A function of the lesson's files that ran is linked in the four paths, or named among the lesson's helpers.
//! - A module beside the lesson of which a function ran is listed under "Engineering, by room". All modules are, and no others.
//!
//! All four paths are one profile, as a peer's timers start together: that a function is in the right one of the four is
//! for the reader to judge, and so is whether one that decides, checks or marks stands among the helpers.
//!
//! The library is built once more, into a folder of its own, which takes a minute. So this is left out, and says so, but not
//! where `BITTORRENTISH_WALK=must` is set, as `.ci/run` does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use bittorrentish::md5::digest;

use super::lesson::{lesson, links, modules, section};
use super::support::Temp;

/// The unit test that runs the swarm.
const SWARM: &str = "client::starting::tests::the_four_paths_from_a_ping_to_a_sweep";
/// How the headings in `src/lib.rs` begin that the four paths stand between.
const PATHS: (&str, &str) = ("## A ping\n", "## The life of a piece\n");
/// And those that the lesson's helpers stand between.
const HELPERS: (&str, &str) = (
    "## What else runs in these files\n",
    "# Engineering, by room",
);
/// And those that the rooms stand between.
const ROOMS: (&str, &str) = ("# Engineering, by room\n", "# Threads");

#[test]
fn the_walk_leaves_nothing_out() {
    if std::env::var("BITTORRENTISH_WALK").as_deref() != Ok("must") {
        eprintln!("left out: what runs is recorded where BITTORRENTISH_WALK=must is set");
        return;
    }
    let temp = Temp::new();
    let ran = functions_that_ran(&profile_of_a_swarm(temp.path()));
    let (modules, lesson) = (modules(), lesson());
    let linked = links(&section(PATHS.0, PATHS.1));
    let helpers = helpers();
    let mut faults = Vec::new();

    let paths: BTreeSet<&String> = ran.iter().map(|function| &function.path).collect();
    let is_function = |path: &&String| {
        let name = path.rsplit("::").next().unwrap_or_default();
        !modules.contains_key(*path) && !name.starts_with(char::is_uppercase)
    };
    for path in linked.iter().filter(is_function) {
        if !paths.contains(path) {
            faults.push(format!(
                "is linked in the four paths, and never ran: {path}"
            ));
        }
    }

    for Function { module, path } in ran.iter().filter(|ran| lesson.contains(&ran.module)) {
        let name = path.rsplit("::").next().unwrap_or_default();
        let is_helper = helpers
            .get(module)
            .is_some_and(|named| named.contains(name));
        if is_helper == linked.contains(path) {
            let what = if is_helper {
                "stands twice"
            } else {
                "isn't walked"
            };
            faults.push(format!("{what}: {path} in {module}"));
        }
    }
    for (module, named) in &helpers {
        let code = modules.get(module).map_or("", String::as_str);
        let exists = |name: &&String| {
            code.contains(&format!("fn {name}(")) || code.contains(&format!("fn {name}<"))
        };
        let gone = named.iter().filter(|name| !exists(name));
        faults.extend(gone.map(|name| format!("no such helper: {name} in {module}")));
    }

    let listed = rooms_listed();
    let beside = |module: &&String| !lesson.contains(*module);
    let rooms: BTreeSet<&String> = ran.iter().map(|ran| &ran.module).filter(beside).collect();
    let missing = rooms.iter().filter(|room| !listed.contains(**room));
    faults.extend(missing.map(|room| format!("isn't listed by room: {room}")));

    let of_lesson = ran
        .iter()
        .filter(|ran| lesson.contains(&ran.module))
        .count();
    println!(
        "ran: {} functions of the crate, {of_lesson} of them in the lesson's files, of which {} are walked; {} rooms beside it",
        ran.len(),
        linked.iter().filter(is_function).count(),
        rooms.len()
    );
    assert!(faults.is_empty(), "src/lib.rs:\n{}", faults.join("\n"));
}

#[test]
fn each_module_beside_the_lesson_has_its_line() {
    let lesson = lesson();
    let mut modules: BTreeSet<String> = modules().into_keys().collect();
    modules.retain(|module| module != "lib" && !lesson.contains(module));
    assert_eq!(rooms_listed(), modules);
}

/// The names of the lesson's helpers, by file.
fn helpers() -> BTreeMap<String, BTreeSet<String>> {
    let section = section(HELPERS.0, HELPERS.1);
    let files = section.split("\n//! - [`").skip(1);
    let files = files.map(|item| {
        let (module, rest) = item.split_once("`]").expect("a link to the file");
        let names = rest.split('`').skip(1).step_by(2);
        (module.to_owned(), names.map(str::to_owned).collect())
    });
    files.collect()
}

/// The modules under "Engineering, by room": the first name in each line.
fn rooms_listed() -> BTreeSet<String> {
    let section = section(ROOMS.0, ROOMS.1);
    let items = section.split("\n//! - `").skip(1);
    let rooms = items.filter_map(|item| Some(item.split_once("`:")?.0.to_owned()));
    rooms.collect()
}

/// Builds the library's unit tests with counters, runs [`SWARM`] alone, and returns its raw profile.
fn profile_of_a_swarm(temp: &Path) -> Vec<u8> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("walk");
    let cargo = |profile: &Path, args: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["test", "--lib", "--target-dir"])
            .arg(&target)
            .args(args)
            .env(
                "RUSTFLAGS",
                "-C instrument-coverage -C llvm-args=-enable-name-compression=false",
            )
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            // it is built in half the time, and no function disappears in another
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            .env("LLVM_PROFILE_FILE", profile);
        let out = cargo.output().expect("cargo runs");
        assert!(
            out.status.success(),
            "{cargo:?}: {}\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    };
    // build scripts write profiles, too
    cargo(&temp.join("build-%p.profraw"), &["--no-run"]);
    let profile = temp.join("swarm.profraw");
    cargo(&profile, &["--", "--exact", SWARM]);
    fs::read(&profile).unwrap_or_else(|fault| panic!("{SWARM} left no profile: {fault}"))
}

/// A function of the crate.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    /// The module where it stands: `client::download`.
    module: String,
    /// Its path, as it is linked: `client::Client::read_answers`.
    path: String,
}

/// The functions of the crate, its tests left out, that ran by a raw profile.
fn functions_that_ran(profile: &[u8]) -> BTreeSet<Function> {
    let (ran, mut found) = (names_that_ran(profile), BTreeSet::new());
    for name in &ran {
        let Some(place) = Symbol::place(name) else {
            panic!("{name} isn't a name that is understood here");
        };
        let module = place.module.strip_prefix("bittorrentish::");
        let Some(module) = module.filter(|module| !module.split("::").any(|part| part == "tests"))
        else {
            continue;
        };
        let path = place.path.trim_start_matches("bittorrentish::");
        found.insert(Function {
            module: module.to_owned(),
            path: path.to_owned(),
        });
    }
    found
}

/// A raw profile as LLVM 20 and later write it, see `compiler-rt/include/profile/InstrProfData.inc`: a header of 16 words,
/// then one record for each function, the counters, and the names.
fn names_that_ran(profile: &[u8]) -> BTreeSet<String> {
    const HEADER: usize = 128;
    const RECORD: usize = 64;
    let header: Vec<usize> = (0..16).map(|at| word(profile, at * 8) as usize).collect();
    assert_eq!(
        word(profile, 0),
        0xff6c_7072_6f66_7281,
        "expected a raw profile of a 64-bit machine with its low bytes first"
    );
    let version = header[1] & 0xff_ffff;
    assert_eq!(version, 10, "expected a raw profile of version 10");
    let [
        ids_len,
        n_records,
        before,
        n_counters,
        after,
        n_bitmap,
        behind,
        names_len,
        delta,
    ] = header[2..11].try_into().expect("nine");
    let records = HEADER + ids_len;
    let counters = records + n_records * RECORD + before;
    let names = counters + n_counters * 8 + after + n_bitmap + behind;
    let names = names_in(&profile[names..names + names_len]);

    let mut ran = BTreeSet::new();
    for nth in 0..n_records {
        let record = records + nth * RECORD;
        // counted from the record itself
        let delta = delta.wrapping_sub(nth * RECORD);
        let first = counters + (word(profile, record + 16) as usize).wrapping_sub(delta);
        let n = u32::from_le_bytes(profile[record + 48..][..4].try_into().expect("four")) as usize;
        if (0..n).any(|at| word(profile, first + at * 8) > 0) {
            let name = names.get(&word(profile, record));
            ran.insert(name.expect("each function has a name").clone());
        }
    }
    ran
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"))
}

/// The names in a profile, by the first eight bytes of their MD5s. They stand in parts, each with its length before it.
fn names_in(mut bytes: &[u8]) -> HashMap<u64, String> {
    let mut names = HashMap::new();
    while bytes.len() > 2 {
        let (len, compressed) = (uleb128(&mut bytes), uleb128(&mut bytes));
        assert_eq!(compressed, 0, "expected names that aren't compressed");
        let (part, rest) = bytes.split_at(len);
        for name in part.split(|byte| *byte == 1) {
            let hash = u64::from_str_radix(&digest(name).to_string()[..16], 16);
            let name = String::from_utf8(name.to_vec()).expect("ASCII");
            names.insert(hash.expect("digits").swap_bytes(), name);
        }
        let padding = rest.iter().take_while(|byte| **byte == 0).count();
        bytes = &rest[padding..];
    }
    names
}

fn uleb128(bytes: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// A mangled name and the place up to which it is read, by <https://doc.rust-lang.org/rustc/symbol-mangling/v0.html>.
struct Symbol<'a> {
    name: &'a [u8],
    at: usize,
}

/// Where something stands: the module, and its path by its type.
#[derive(Clone, Debug, Default, PartialEq)]
struct Place {
    module: String,
    path: String,
}

impl Symbol<'_> {
    /// Where a function stands; closures count as the function that they are in.
    fn place(name: &str) -> Option<Place> {
        // of a static function the name has its file before it
        let mangled = name.rsplit([';', ':']).next()?.strip_prefix("_R")?;
        let mut symbol = Symbol {
            name: mangled.as_bytes(),
            at: 0,
        };
        symbol.path()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.name.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eats = self.name.get(self.at) == Some(&byte);
        self.at += usize::from(eats);
        eats
    }

    fn path(&mut self) -> Option<Place> {
        match self.next()? {
            b'C' => {
                self.disambiguator()?;
                let path = self.identifier()?;
                let module = path.clone();
                Some(Place { module, path })
            }
            // in a type: the module is where the methods stand, and the path the type's
            b'M' => self.methods(),
            b'X' => {
                let methods = self.methods()?;
                self.path()?;
                Some(methods)
            }
            // a method that a trait has for all its types
            b'Y' => {
                self.type_path()?;
                self.path()
            }
            b'N' => {
                let namespace = self.next()?;
                let mut place = self.path()?;
                self.disambiguator()?;
                let name = self.identifier()?;
                // closures, and what derives wrap their methods in
                if !namespace.is_ascii_uppercase() && name != "_" {
                    place.path = format!("{}::{name}", place.path);
                    if namespace == b't' && !name.starts_with(char::is_uppercase) {
                        place.module.clone_from(&place.path);
                    }
                }
                Some(place)
            }
            b'I' => {
                let place = self.path()?;
                while !self.eat(b'E') {
                    self.generic_argument()?;
                }
                Some(place)
            }
            b'B' => self.back(Self::path),
            _ => None,
        }
    }

    fn methods(&mut self) -> Option<Place> {
        self.disambiguator()?;
        let module = self.path()?.module;
        let path = self.type_path()?;
        Some(Place { module, path })
    }

    fn generic_argument(&mut self) -> Option<()> {
        if self.eat(b'L') {
            return self.number().map(drop);
        }
        if self.eat(b'K') {
            return self.constant();
        }
        self.type_path().map(drop)
    }

    /// The path of a type; of one that is built in, its letter.
    fn type_path(&mut self) -> Option<String> {
        let kind = self.next()?;
        match kind {
            b'a'..=b'z' => Some(char::from(kind).to_string()),
            b'A' => {
                let path = self.type_path()?;
                self.constant()?;
                Some(path)
            }
            b'S' | b'P' | b'O' => self.type_path(),
            b'R' | b'Q' => {
                if self.eat(b'L') {
                    self.number()?;
                }
                self.type_path()
            }
            b'T' => {
                while !self.eat(b'E') {
                    self.type_path()?;
                }
                Some("tuple".to_owned())
            }
            b'F' => self.signature(),
            b'D' => self.dynamic(),
            b'B' => self.back(Self::type_path),
            _ => {
                self.at -= 1;
                self.path().map(|place| place.path)
            }
        }
    }

    fn signature(&mut self) -> Option<String> {
        if self.eat(b'G') {
            self.number()?;
        }
        self.eat(b'U');
        if self.eat(b'K') && !self.eat(b'C') {
            self.identifier()?;
        }
        while !self.eat(b'E') {
            self.type_path()?;
        }
        self.type_path()?;
        Some("fn".to_owned())
    }

    fn dynamic(&mut self) -> Option<String> {
        if self.eat(b'G') {
            self.number()?;
        }
        while !self.eat(b'E') {
            self.path()?;
            while self.eat(b'p') {
                self.identifier()?;
                self.type_path()?;
            }
        }
        self.eat(b'L').then(|| self.number())??;
        Some("dyn".to_owned())
    }

    /// A number of a type, the only constants here.
    fn constant(&mut self) -> Option<()> {
        if self.eat(b'p') {
            return Some(());
        }
        if self.eat(b'B') {
            return self.back(Self::constant);
        }
        self.next()?;
        while !self.eat(b'_') {
            self.next()?;
        }
        Some(())
    }

    /// Reads what stands earlier in the name.
    fn back<T>(&mut self, read: fn(&mut Self) -> Option<T>) -> Option<T> {
        let to = self.number()?;
        let after = std::mem::replace(&mut self.at, to);
        let value = read(self);
        self.at = after;
        value
    }

    fn disambiguator(&mut self) -> Option<()> {
        match self.eat(b's') {
            true => self.number().map(drop),
            false => Some(()),
        }
    }

    /// Digits to the base of 62, and an underline.
    fn number(&mut self) -> Option<usize> {
        if self.eat(b'_') {
            return Some(0);
        }
        let mut value = 0_usize;
        while !self.eat(b'_') {
            let digit = self.next()?;
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'z' => digit - b'a' + 10,
                b'A'..=b'Z' => digit - b'A' + 36,
                _ => return None,
            };
            // of a crate's hash only the end is kept: nobody reads it
            value = value.wrapping_mul(62).wrapping_add(digit.into());
        }
        Some(value.wrapping_add(1))
    }

    fn identifier(&mut self) -> Option<String> {
        self.eat(b'u');
        let digits = self.name[self.at..].iter();
        let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let text = |range: Range<usize>| {
            let text = self.name.get(range)?;
            String::from_utf8(text.to_vec()).ok()
        };
        // a length of 0 ends the digits, whatever follows
        let digits = if self.name.get(self.at) == Some(&b'0') {
            1
        } else {
            digits
        };
        let len: usize = text(self.at..self.at + digits)?.parse().ok()?;
        self.at += digits;
        self.eat(b'_');
        let name = self.name.get(self.at..self.at + len)?.to_vec();
        self.at += len;
        String::from_utf8(name).ok()
    }
}

#[test]
fn mangled_names_are_understood() {
    for (name, module, path) in [
        (
            "_RNvMNtCs3hiWVAgN0Xn_13bittorrentish6clientNtB2_6Client22send_tracker_file_list",
            "client",
            "client::Client::send_tracker_file_list",
        ),
        (
            "_RNCNCNvMNtCs3hiWVAgN0Xn_13bittorrentish6pickerNtB6_6Picker23peers_with_a_place_frees_00B8_",
            "picker",
            "picker::Picker::peers_with_a_place_free",
        ),
        (
            "_RINvMNtNtCs3hiWVAgN0Xn_13bittorrentish6roster6quotasNtB3_13AddressQuotas6changeNCNvMs_NtB5_7recordsNtB5_6Roster10set_record0EB7_",
            "roster::quotas",
            "roster::quotas::AddressQuotas::change",
        ),
        (
            "_RNvYNtNtNtCs3hiWVAgN0Xn_13bittorrentish5store4disk5PlainNtB4_4Disk9hard_linkB8_",
            "store::disk",
            "store::disk::Disk::hard_link",
        ),
        (
            "_RNvNtCs3hiWVAgN0Xn_13bittorrentish3md510hash_lanes",
            "md5",
            "md5::hash_lanes",
        ),
    ] {
        let place = Symbol::place(name).expect(name);
        let expected = (
            format!("bittorrentish::{module}"),
            format!("bittorrentish::{path}"),
        );
        assert_eq!((place.module, place.path), expected, "{name}");
    }
}

//! opentracker, where it is installed, on loopback and with one file.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use super::announce::{Rate, rate};
use super::campus::FIRST_PORT;
use super::support::{Temp, until};

const ANNOUNCE: &str = "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbb%&port=%&left=5&downloaded=0&uploaded=0&compact=1 HTTP/1.0\r\n\r\n";

pub struct Opentracker {
    child: Child,
    at: SocketAddr,
    _dir: Temp,
}

impl Opentracker {
    pub fn start() -> Option<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
        let at = free.expect("a port");
        let dir = Temp::new();
        let all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), all).expect("a folder of ours");
        fs::write(dir.path().join("list"), "61".repeat(20) + "\n").expect("a folder of ours");
        let port = at.port().to_string();
        // as root it takes the folder for the root of all files
        let root = Command::new("id").arg("-u").output().ok()?.stdout == b"0\n";
        let list = if root {
            "/list".into()
        } else {
            dir.path().join("list")
        };
        let mut command = Command::new("opentracker");
        command.args(["-i", "127.0.0.1", "-p", &port, "-P", &port]);
        command.arg("-d").arg(dir.path()).arg("-w").arg(list);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let started = Self {
            child: child.ok()?,
            at,
            _dir: dir,
        };
        until("opentracker", || TcpStream::connect(at).ok());
        Some(started)
    }

    pub fn rate(&self, n_peers: usize) -> Rate {
        rate(self.at, ANNOUNCE, FIRST_PORT, n_peers)
    }
}

impl Drop for Opentracker {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

//! The addresses of this machine, for people. std can't list them: the system is asked which one it would send from, and
//! on Linux `/proc` has the others.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::{Command, Stdio};

/// Returns a host, as somebody wrote it, with a port: there, an IPv6 address stands in brackets.
pub fn at_port(host: &str, port: u16) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Returns the addresses at which others may reach this machine, those of the default routes first; at most `most`.
pub fn own_addresses(most: usize) -> Vec<IpAddr> {
    // addresses reserved for examples: packets to them would take the default route, and none is sent
    let [v4, v6] = [
        IpAddr::from([192, 0, 2, 1]),
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    ]
    .map(sends_from);
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let trie = local_in_fib_trie(&read("/proc/net/fib_trie"));
    let inet6 = global_in_if_inet6(&read("/proc/net/if_inet6"));
    let mut addresses: Vec<IpAddr> = Vec::new();
    let all = v4.into_iter().chain(trie).chain(v6).chain(inet6);
    for address in all.filter(|address| is_reachable(*address)) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.truncate(most);
    addresses
}

/// Returns what this machine calls itself, up to the first dot; nothing if that can't be found out.
pub fn host_name() -> String {
    let read = || fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let asked = || {
        let out = Command::new("hostname")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        String::from_utf8(out.stdout).ok()
    };
    let name = read().or_else(asked).unwrap_or_default();
    let name = name.trim();
    name.split('.').next().unwrap_or(name).to_owned()
}

/// Returns the address from which the system would send to another one. Nothing is sent.
pub fn sends_from(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_canonical())
}

/// Returns true if two addresses are probably in one subnet: they have the same /24 of IPv4, or /64 of IPv6.
pub fn is_same_subnet(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (one @ IpAddr::V6(_), other @ IpAddr::V6(_)) => network(one) == network(other),
        _ => false,
    }
}

/// Whose address it is: a single machine can take any IPv6 address that has the same first 64 bits.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// Returns true if another machine could reach it without naming an interface.
fn is_reachable(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && match address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        }
}

/// Returns the machine's own addresses in `/proc/net/fib_trie`: each has a line of its own, followed by one with `host
/// LOCAL`.
fn local_in_fib_trie(trie: &str) -> Vec<IpAddr> {
    let lines = trie.lines().zip(trie.lines().skip(1));
    let local = lines.filter(|(_, kind)| kind.trim() == "/32 host LOCAL");
    let address = |(line, _): (&str, &str)| line.trim().strip_prefix("|-- ")?.parse().ok();
    local.filter_map(address).collect()
}

/// Returns the addresses of global scope in `/proc/net/if_inet6` that are permanent: neither temporary, nor tentative,
/// nor deprecated.
fn global_in_if_inet6(table: &str) -> Vec<IpAddr> {
    /// The kernel's flags: temporary, failed, deprecated, tentative.
    const GOES: u8 = 0x01 | 0x08 | 0x20 | 0x40;
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let mut hex = words.skip(2).map(|hex| u8::from_str_radix(hex, 16).ok());
        let (scope, flags) = (hex.next()??, hex.next()??);
        (scope == 0 && flags & GOES == 0).then(|| Ipv6Addr::from_bits(address).into())
    };
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_the_usual_size() {
        for (one, other, same) in [
            ("10.0.7.1", "10.0.7.200", true),
            ("10.0.7.1", "10.0.8.1", false),
            ("::ffff:10.0.7.1", "10.0.7.2", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:2::9", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("fe80::1", "fe80::2", true),
            ("fe80::1", "10.0.7.1", false),
        ] {
            let [one, other] = [one, other].map(|ip| ip.parse().expect("an address"));
            assert_eq!(is_same_subnet(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_host_has_its_port_behind_it() {
        for (host, expected) in [
            ("10.0.0.7", "10.0.0.7:1"),
            ("pc07", "pc07:1"),
            ("::1", "[::1]:1"),
            ("fe80::1%eth0", "[fe80::1%eth0]:1"),
            ("[::1]", "[::1]:1"),
        ] {
            assert_eq!(at_port(host, 1), expected);
        }
    }

    #[test]
    fn addresses_are_read_from_the_tables_of_linux() {
        let trie = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 192.168.1.0/24 2 0 2
        |-- 192.168.1.0
           /24 link UNICAST
        |-- 192.168.1.10
           /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.168.1.255
        /32 link BROADCAST
Local:
     |-- 10.8.0.3
        /32 host LOCAL
     |-- 10.9.0.3
        /32 link UNICAST
     |-- nonsense
        /32 host LOCAL
";
        let found: Vec<String> = local_in_fib_trie(trie)
            .iter()
            .map(IpAddr::to_string)
            .collect();
        assert_eq!(found, ["192.168.1.10", "127.0.0.1", "10.8.0.3"]);
        let table = "\
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 04 40 00 82     eth0
fd000000000000000000000000000003 04 40 00 01     eth0
fd000000000000000000000000000004 04 40 00 a0     eth0
nonsense
";
        assert_eq!(
            global_in_if_inet6(table),
            ["fd00::2".parse::<IpAddr>().expect("an address")]
        );
        assert!(local_in_fib_trie("").is_empty() && global_in_if_inet6("").is_empty());
    }

    #[test]
    fn own_addresses_are_few_different_and_reachable() {
        let mut own = own_addresses(4);
        assert!(
            own.len() <= 4 && own.iter().all(|address| is_reachable(*address)),
            "{own:?}"
        );
        own.sort();
        assert!(own.windows(2).all(|pair| pair[0] != pair[1]), "{own:?}");
        assert!(own_addresses(0).is_empty());
    }
}

//! Which network addresses a request may reach. Pure: knows address ranges and the operator's exceptions, resolves
//! nothing.

use super::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An exception of the operator: one entry of `egress.allowPrivate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowPrivate {
    /// Exactly this host, as the URL spells it, at this port. Allows plain HTTP too.
    Endpoint { host: String, port: u16 },
    /// Every address whose first `prefix` bits are those of `network`, at any port.
    Network { network: IpAddr, prefix: u8 },
}

impl FromStr for AllowPrivate {
    type Err = Error;

    fn from_str(text: &str) -> Result<AllowPrivate, Error> {
        let wrong = || Error::AllowPrivate(text.to_owned());
        if let Some((network, prefix)) = text.split_once('/') {
            let network: IpAddr = network.parse().map_err(|_| wrong())?;
            let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
            let longest = if network.is_ipv4() { 32 } else { 128 };
            if prefix > longest {
                return Err(wrong());
            }
            return Ok(AllowPrivate::Network { network, prefix });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        // The URL parser gives host names and addresses the one spelling that requests are compared in.
        let url = url::Url::parse(&format!("http://{host}/")).map_err(|_| wrong())?;
        let plain = host.starts_with('[') || !host.contains(':');
        let host =
            url.host_str().filter(|_| plain && !host.contains(['/', '?', '#', '@', '\\', '*']));
        Ok(AllowPrivate::Endpoint { host: host.ok_or_else(wrong)?.to_owned(), port })
    }
}

impl fmt::Display for AllowPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowPrivate::Endpoint { host, port } => write!(f, "{host}:{port}"),
            AllowPrivate::Network { network, prefix } => write!(f, "{network}/{prefix}"),
        }
    }
}

impl AllowPrivate {
    /// Whether this entry names the endpoint of a URL.
    pub(super) fn names(&self, wanted_host: &str, wanted_port: u16) -> bool {
        matches!(self, AllowPrivate::Endpoint { host, port }
            if host == wanted_host && *port == wanted_port)
    }

    /// Whether this entry is a network that holds the address.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        let AllowPrivate::Network { network, prefix } = self else {
            return false;
        };
        let prefix = u32::from(*prefix);
        match (network, embedded(address)) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let different = network.to_bits() ^ address.to_bits();
                prefix == 0 || different >> (32 - prefix) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let different = network.to_bits() ^ address.to_bits();
                prefix == 0 || different >> (128 - prefix) == 0
            }
            _ => false,
        }
    }
}

/// What an address that must not be reached is, in words that follow "is"; `None` for public addresses.
pub(super) fn refusal(address: IpAddr) -> Option<&'static str> {
    match embedded(address) {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

/// The IPv4 address that a mapped or NAT64 address leads to, else the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        return IpAddr::V4(mapped);
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [169, 254, 169, 254] | [168, 63, 129, 16] => Some("a cloud metadata address"),
        [0, ..] => Some("an unspecified address"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [100, 64..=127, ..] => Some("a carrier-internal address"),
        [169, 254, ..] => Some("a link-local address"),
        [192, 0, 0, _] | [192, 88, 99, _] => Some("a reserved address"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("a documentation address"),
        [198, 18..=19, ..] => Some("a benchmarking address"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        return Some("a loopback address");
    }
    if address.is_unspecified() {
        return Some("an unspecified address");
    }
    match address.segments() {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Some("a cloud metadata address"),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0x2002, ..] | [0x2001, 0, ..] => Some("a tunnel address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("a documentation address"),
        [0x2001, 0..=0x1ff, ..] => Some("a reserved address"),
        // Everything that is routed on the public network lies in 2000::/3.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        #[track_caller]
        fn check(address: &str, expected: Option<&str>) {
            let found = refusal(address.parse().unwrap());
            assert_eq!(found.is_some(), expected.is_some(), "{address}: {found:?}");
            assert!(found.unwrap_or("").contains(expected.unwrap_or("")), "{address}: {found:?}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4009::200e",
            "2001:4860:4860::8888",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            check(public, None);
        }
        for (refused, what) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("10.0.0.5", "private"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("100.64.0.1", "carrier"),
            ("100.127.255.255", "carrier"),
            ("169.254.0.1", "link-local"),
            ("169.254.169.254", "metadata"),
            ("168.63.129.16", "metadata"),
            ("100.100.100.200", "carrier"),
            ("192.0.0.192", "reserved"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.9", "documentation"),
            ("203.0.113.9", "documentation"),
            ("192.88.99.1", "reserved"),
            ("198.18.0.1", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.5", "private"),
            ("::ffff:169.254.169.254", "metadata"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a00:5", "private"),
            ("64:ff9b:1::7f00:1", "reserved"),
            ("::7f00:1", "reserved"),
            ("2002:7f00:1::", "tunnel"),
            ("2002:808:808::", "tunnel"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "tunnel"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("2001:2::1", "reserved"),
            ("2001:10::1", "reserved"),
            ("100::1", "reserved"),
            ("fc00::1", "private"),
            ("fd12:3456::1", "private"),
            ("fd00:ec2::254", "metadata"),
            ("fe80::1", "link-local"),
            ("fec0::1", "reserved"),
            ("ff02::1", "multicast"),
            ("5f00::1", "reserved"),
            ("4000::1", "reserved"),
        ] {
            check(refused, Some(what));
        }
    }

    #[test]
    fn exceptions_are_an_endpoint_or_a_network() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(text.parse::<AllowPrivate>().unwrap().to_string(), expected);
        }
        check("10.0.0.5:8080", "10.0.0.5:8080");
        check("LocalHost:80", "localhost:80");
        check("0x7f.1:80", "127.0.0.1:80");
        check("[::1]:8080", "[::1]:8080");
        check("10.0.0.0/8", "10.0.0.0/8");
        check("fd00::/8", "fd00::/8");
        for wrong in [
            "",
            "localhost",
            "10.0.0.5",
            ":80",
            "10.0.0.0/33",
            "::/129",
            "10.0/8",
            "host:99999",
            "http://host:80",
            "user@host:80",
            "host/x:80",
            "10.0.0.0/x",
            "a b:80",
            "*:80",
            "host:80:80",
        ] {
            let error = wrong.parse::<AllowPrivate>();
            assert!(error.is_err(), "{wrong:?} was read as {error:?}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_in_every_spelling() {
        #[track_caller]
        fn check(network: &str, address: &str, expected: bool) {
            let network: AllowPrivate = network.parse().unwrap();
            assert_eq!(network.holds(address.parse().unwrap()), expected, "{network} {address}");
        }
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("10.0.0.0/8", "64:ff9b::a01:203", true);
        check("10.1.2.3/32", "10.1.2.3", true);
        check("10.1.2.3/32", "10.1.2.2", false);
        check("0.0.0.0/0", "192.168.0.1", true);
        check("0.0.0.0/0", "::1", false);
        check("fd00::/8", "fd12::1", true);
        check("fd00::/8", "fc00::1", false);
        check("::/0", "::1", true);
        check("127.0.0.1:80", "127.0.0.1", false);
    }
}

//! Where a request comes from: the peer of its connection, and the client behind the proxies that are trusted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The headers by which a proxy can be told.
const FORWARDING: [HeaderName; 3] =
    [FORWARDED_FOR, HeaderName::from_static("forwarded"), HeaderName::from_static("x-real-ip")];

/// The addresses of a request, as an extension of it. IPv4 addresses in IPv6 clothes are IPv4 addresses here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// The other end of the connection.
    pub(crate) peer: Option<IpAddr>,
    /// Who asks; nothing when a trusted proxy does not say it, or one that is not trusted stands on this machine. What
    /// depends on it treats all of those as one.
    pub(crate) client: Option<IpAddr>,
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 subscriber has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block(IpAddr);

/// The proxies whose word is taken for who the client is.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct TrustedProxies(Vec<Network>);

/// An IP address, or a range of them in CIDR notation.
#[derive(Clone, Copy, Debug)]
struct Network(IpNet);

impl Source {
    /// A request that came right over a connection with this peer.
    pub(crate) fn direct(peer: SocketAddr) -> Self {
        let peer = Some(peer.ip().to_canonical());
        Self { peer, client: peer }
    }

    /// The same once it is known through whom it came.
    pub(crate) fn through(self, proxies: &TrustedProxies, headers: &HeaderMap) -> Self {
        Self { client: self.peer.and_then(|peer| proxies.client(peer, headers)), ..self }
    }
}

impl Block {
    /// The client at this address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()),
        }
    }

    /// Whether it is this machine.
    pub(crate) fn is_loopback(self) -> bool {
        self == Self::of(Ipv6Addr::LOCALHOST.into()) || self.0.is_loopback()
    }
}

impl TrustedProxies {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.0.contains(&address))
    }

    /// Each proxy appends whom it was asked by, so from the right the first address that is no proxy's is the client's;
    /// what stands left of it anybody could have written.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.trusts(peer) {
            // A proxy on this machine that is not listed: all its clients would pass for this machine.
            let is_forwarded = peer.is_loopback() && FORWARDING.iter().any(|name| headers.contains_key(name));
            return (!is_forwarded).then_some(peer);
        }
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        for entry in values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',')) {
            let address = parse(entry.trim())?;
            if !self.trusts(address) {
                return Some(address);
            }
        }
        None
    }
}

/// An address as proxies write them: with a port or without, IPv6 in brackets or not.
fn parse(text: &str) -> Option<IpAddr> {
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network = text.parse().or_else(|_| address());
        network.map(Self).map_err(|_| de::Error::custom(format_args!("`{text}` is neither an IP address nor a CIDR")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proxies() -> TrustedProxies {
        serde_json::from_value(json!(["10.0.0.0/8", "127.0.0.1", "fd00::/8"])).expect("valid networks")
    }

    fn client(peer: &str, forwarded: &[&str]) -> Option<String> {
        let headers = forwarded.iter().map(|value| (FORWARDED_FOR, value.parse().expect("a header value"))).collect();
        let peer = SocketAddr::new(peer.parse().expect("an address"), 1);
        Source::direct(peer).through(&proxies(), &headers).client.map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_no_proxy() {
        let check = |peer, forwarded: &[&str], expected: Option<&str>| {
            assert_eq!(client(peer, forwarded).as_deref(), expected, "{peer} {forwarded:?}");
        };
        check("192.0.2.1", &[], Some("192.0.2.1"));
        check("192.0.2.1", &["198.51.100.7"], Some("192.0.2.1"));
        check("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7"));
        check("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.2.3.4"], Some("198.51.100.7"));
        check("10.0.0.1", &["203.0.113.9", "198.51.100.7"], Some("198.51.100.7"));
        check("10.0.0.1", &["198.51.100.7:4711"], Some("198.51.100.7"));
        check("10.0.0.1", &["[2001:db8::1]:4711"], Some("2001:db8::1"));
        check("10.0.0.1", &["[2001:db8::1]"], Some("2001:db8::1"));
        check("fd00::1", &["2001:db8::1"], Some("2001:db8::1"));
        check("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], Some("198.51.100.7"));
    }

    #[test]
    fn behind_a_proxy_that_says_nothing_usable_the_client_is_unknown() {
        for forwarded in [&[][..], &[""], &["unknown"], &["198.51.100.7, nonsense"], &["10.1.1.1"], &["198.51.100.7,"]]
        {
            assert_eq!(client("127.0.0.1", forwarded), None, "{forwarded:?}");
        }
    }

    #[test]
    fn one_client_is_an_ipv4_address_or_a_64() {
        let block = |text: &str| Block::of(text.parse().expect("an address"));
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:0:0:1"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert!(block("::1").is_loopback() && block("127.0.0.1").is_loopback() && !block("192.0.2.1").is_loopback());
    }

    #[test]
    fn a_network_is_an_address_or_a_cidr() {
        let network = |text: &str| serde_json::from_value::<TrustedProxies>(json!([text])).is_ok();
        assert!(network("192.0.2.1") && network("2001:db8::/32"));
        assert!(!network("example.com") && !network("192.0.2.0/33"));
    }
}

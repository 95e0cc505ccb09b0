//! Which legs carry headers, and who is trusted to send them.

use std::net::IpAddr;

use crate::wire::ip::mapped;

/// A network: address (IPv4 mapped) and prefix length (of the mapped form).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    address: u128,
    mask: u128,
}

impl Net {
    /// Reads `address` or `address/prefix`.
    pub fn parse(text: &str) -> Result<Net, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{text:?} is not an address or CIDR"))?;
        let (octets, most) = match address {
            IpAddr::V4(v4) => (mapped(v4.octets()), 32),
            IpAddr::V6(v6) => (v6.octets(), 128),
        };
        let prefix = match prefix {
            None => most,
            Some(prefix) => prefix
                .parse::<u32>()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or_else(|| format!("{text:?}: the prefix length is not in 0..={most}"))?,
        };
        let ones = 128 - most + prefix;
        let mask = if ones == 0 {
            0
        } else {
            u128::MAX << (128 - ones)
        };
        Ok(Net {
            address: u128::from_be_bytes(octets) & mask,
            mask,
        })
    }

    /// Whether an address (IPv4 mapped) lies in it.
    #[inline]
    #[must_use]
    pub fn contains(&self, address: &[u8; 16]) -> bool {
        u128::from_be_bytes(*address) & self.mask == self.address
    }
}

/// One leg.
#[derive(Clone, Debug)]
pub struct Rule {
    /// gateway1.
    pub from: Net,
    /// Its port, if just one may connect.
    pub from_port: Option<u16>,
    /// gateway2.
    pub to: Net,
    /// Its port; all of them if not given.
    pub to_port: Option<u16>,
    /// Numbers of the codecs that may stand on this leg, in the order in which they are tried.
    pub codecs: Vec<u8>,
    /// Whether a connection without a header is an error.
    pub required: bool,
    /// How many headers are stacked.
    pub depth: u8,
    /// The most bytes that all headers of one connection can take.
    pub header_bytes: usize,
}

/// An end of a connection: address (IPv4 mapped) and port.
pub type End = ([u8; 16], u16);

/// A leg that fits a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The rule's number.
    pub rule: u16,
    /// Whether the client's end is one that may send headers.
    pub trusted: bool,
}

/// All legs, first match first.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Rules in the order of the configuration.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Rules {
        Rules(rules)
    }

    /// A rule by its number.
    #[inline]
    #[must_use]
    pub fn get(&self, rule: u16) -> &Rule {
        &self.0[usize::from(rule)]
    }

    /// The leg on which `client` connects to `server`: a rule that trusts it, else one for the same
    /// server that does not.
    #[must_use]
    pub fn find(&self, client: &End, server: &End) -> Option<Match> {
        let mut untrusted = None;
        for (number, rule) in self.0.iter().enumerate() {
            if !rule.to.contains(&server.0) || rule.to_port.is_some_and(|port| port != server.1) {
                continue;
            }
            let trusted =
                rule.from.contains(&client.0) && rule.from_port.is_none_or(|port| port == client.1);
            let found = Match {
                rule: number as u16,
                trusted,
            };
            if trusted {
                return Some(found);
            }
            untrusted = untrusted.or(Some(found));
        }
        untrusted
    }

    /// Whether any leg's server lies at either address, whatever the port: the question that can be
    /// asked of a fragment.
    #[must_use]
    pub fn concern(&self, a: &[u8; 16], b: &[u8; 16]) -> bool {
        self.0
            .iter()
            .any(|rule| rule.to.contains(a) || rule.to.contains(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> [u8; 16] {
        match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(v4) => mapped(v4.octets()),
            IpAddr::V6(v6) => v6.octets(),
        }
    }

    #[test]
    fn networks_contain_their_own() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
        ];
        for (net, member, wanted) in table {
            assert_eq!(
                Net::parse(net).unwrap().contains(&address(member)),
                wanted,
                "{net} {member}"
            );
        }
        for wrong in ["10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/x", ""] {
            assert!(Net::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_trusting_rule_comes_before_one_that_does_not() {
        let rule = |from: &str, from_port, to_port| Rule {
            from: Net::parse(from).unwrap(),
            from_port,
            to: Net::parse("10.0.0.2").unwrap(),
            to_port,
            codecs: vec![0],
            required: false,
            depth: 1,
            header_bytes: 100,
        };
        let rules = Rules::new(vec![
            rule("10.0.0.1", None, Some(9000)),
            rule("10.0.0.3", None, Some(9000)),
            rule("10.0.0.4", Some(77), None),
        ]);
        // (client, its port, server's port, match)
        let table = [
            ("10.0.0.1", 5, 9000, Some((0, true))),
            ("10.0.0.3", 5, 9000, Some((1, true))),
            ("10.0.0.9", 5, 9000, Some((0, false))),
            ("10.0.0.4", 77, 80, Some((2, true))),
            ("10.0.0.4", 78, 80, Some((2, false))),
        ];
        for (client, client_port, server_port, wanted) in table {
            let found = rules
                .find(
                    &(address(client), client_port),
                    &(address("10.0.0.2"), server_port),
                )
                .map(|m| (m.rule, m.trusted));
            assert_eq!(found, wanted, "{client}:{client_port}");
        }
        assert_eq!(
            rules.find(&(address("10.0.0.1"), 5), &(address("10.0.0.7"), 9000)),
            None
        );
    }
}

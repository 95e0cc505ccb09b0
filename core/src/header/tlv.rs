//! The type-length-value extensions of `proxy-v2`.
//!
//! Source: HAProxy's doc/proxy-protocol.txt, section 2.2.1 to 2.2.8. The clouds' types lie in the
//! range left to applications: AWS (Network Load Balancer, "Proxy protocol": 0xEA, sub-type 1 is the
//! VPC endpoint), Azure (Private Link service, "TCP Proxy v2": 0xEE, sub-type 1 is the endpoint's
//! LINKID, little-endian), Google Cloud (Private Service Connect: 0xE0, the connection id).

use serde_json::{json, Map, Value};

use super::{hex, Malformed};

/// The application protocol that TLS negotiated.
pub const ALPN: u8 = 0x01;
/// The host name that the peer asked for.
pub const AUTHORITY: u8 = 0x02;
/// The checksum of the whole header.
pub const CRC32C: u8 = 0x03;
/// Padding.
pub const NOOP: u8 = 0x04;
/// An opaque identifier of the connection.
pub const UNIQUE_ID: u8 = 0x05;
/// What the proxy knows of the peer's TLS session.
pub const SSL: u8 = 0x20;
/// The name of a network namespace.
pub const NETNS: u8 = 0x30;
/// Google Cloud's.
pub const GCP: u8 = 0xe0;
/// Amazon's.
pub const AWS: u8 = 0xea;
/// Azure's.
pub const AZURE: u8 = 0xee;

/// The sub-types of [`SSL`] with their names here.
const SSL_TEXTS: [(u8, &str); 5] = [
    (0x21, "version"),
    (0x22, "cn"),
    (0x23, "cipher"),
    (0x24, "sig_alg"),
    (0x25, "key_alg"),
];
/// The bits of an SSL TLV's first byte.
const SSL_CLIENT: [(u8, &str); 3] = [(0x01, "ssl"), (0x02, "cert_conn"), (0x04, "cert_sess")];
/// Client bits and verify word, in front of an SSL TLV's own TLVs.
const SSL_FIXED: usize = 5;
/// Section 2.2.5.
const UNIQUE_ID_MAX: usize = 128;

/// Walks TLVs; ends behind the first that overruns.
pub struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// The TLVs that fill `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Tlvs { rest: bytes }
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        match *rest {
            [] => None,
            [kind, high, low, ref body @ ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length > body.len() {
                    return Some(Err(Malformed("a TLV overruns the header")));
                }
                let (value, behind) = body.split_at(length);
                self.rest = behind;
                Some(Ok((kind, value)))
            }
            _ => Some(Err(Malformed("a TLV overruns the header"))),
        }
    }
}

/// Appends a TLV. The caller limits `value` to 65535 bytes.
pub fn emit(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    to.push(kind);
    to.extend((value.len() as u16).to_be_bytes());
    to.extend(value);
}

/// Checks the TLVs of `header`, which begin at `from`.
///
/// # Errors
/// A TLV that overruns; a CRC32C that is wrong, not four bytes long or there twice; a UNIQUE_ID of
/// more than 128 bytes; an SSL TLV without its fixed part.
pub fn check(header: &[u8], from: usize) -> Result<(), Malformed> {
    let mut at = from;
    let mut checksum = None;
    for tlv in Tlvs::new(&header[from..]) {
        let (kind, value) = tlv?;
        at += 3;
        match kind {
            CRC32C => {
                let Ok(sum) = <[u8; 4]>::try_from(value) else {
                    return Err(Malformed("a CRC32C is not four bytes long"));
                };
                if checksum.replace((at, u32::from_be_bytes(sum))).is_some() {
                    return Err(Malformed("there are two CRC32C"));
                }
            }
            UNIQUE_ID if value.len() > UNIQUE_ID_MAX => {
                return Err(Malformed("a UNIQUE_ID is longer than 128 bytes"));
            }
            SSL => {
                let Some(inner) = value.get(SSL_FIXED..) else {
                    return Err(Malformed("an SSL TLV is shorter than its fixed part"));
                };
                if Tlvs::new(inner).any(|tlv| tlv.is_err()) {
                    return Err(Malformed("a TLV overruns the SSL TLV"));
                }
            }
            _ => {}
        }
        at += value.len();
    }
    match checksum {
        // The sum is that of the header with zeros in its own place (section 2.2.3).
        Some((at, told)) => {
            let sum = crc32c::crc32c(&header[..at]);
            let sum = crc32c::crc32c_append(sum, &[0; 4]);
            let sum = crc32c::crc32c_append(sum, &header[at + 4..]);
            if sum == told {
                Ok(())
            } else {
                Err(Malformed("the CRC32C does not match"))
            }
        }
        None => Ok(()),
    }
}

/// All TLVs of `bytes` by name, in order. Unknown types stand as hex under their number (`"0xf1"`),
/// text that is not UTF-8 as `{"hex": ...}`; a type that occurs several times becomes a list.
#[must_use]
pub fn describe(bytes: &[u8]) -> Map<String, Value> {
    let mut says = Map::new();
    for (kind, value) in Tlvs::new(bytes).flatten() {
        let (name, value) = match kind {
            ALPN => ("alpn", text(value)),
            AUTHORITY => ("authority", text(value)),
            CRC32C => ("crc32c", hex(value).into()),
            NOOP => ("noop", hex(value).into()),
            UNIQUE_ID => ("unique_id", text(value)),
            SSL => ("ssl", ssl(value)),
            NETNS => ("netns", text(value)),
            AWS => ("aws", aws(value)),
            AZURE => ("azure", azure(value)),
            GCP => ("gcp", gcp(value)),
            _ => {
                add(&mut says, &number(kind), hex(value).into());
                continue;
            }
        };
        add(&mut says, name, value);
    }
    says
}

/// The key of a type that has no name here.
fn number(kind: u8) -> String {
    format!("0x{kind:02x}")
}

fn add(says: &mut Map<String, Value>, name: &str, value: Value) {
    match says.get_mut(name) {
        None => {
            says.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// Printable text as it is, anything else as hex: attackers choose some of these bytes.
fn text(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => json!({ "hex": hex(value) }),
    }
}

fn ssl(value: &[u8]) -> Value {
    let Some((fixed, inner)) = value.split_at_checked(SSL_FIXED) else {
        return json!({ "hex": hex(value) });
    };
    let mut says = Map::new();
    let client: Vec<&str> = SSL_CLIENT
        .iter()
        .filter(|(bit, _)| fixed[0] & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    says.insert("client".into(), client.into());
    let verify = u32::from_be_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]);
    says.insert("verify".into(), verify.into());
    for (kind, value) in Tlvs::new(inner).flatten() {
        match SSL_TEXTS.iter().find(|(known, _)| *known == kind) {
            Some((_, name)) => add(&mut says, name, text(value)),
            None => add(&mut says, &number(kind), hex(value).into()),
        }
    }
    Value::Object(says)
}

fn aws(value: &[u8]) -> Value {
    match value {
        [0x01, endpoint @ ..] => json!({ "vpce_id": text(endpoint) }),
        _ => json!({ "hex": hex(value) }),
    }
}

fn azure(value: &[u8]) -> Value {
    match *value {
        [0x01, a, b, c, d] => json!({ "linkid": u32::from_le_bytes([a, b, c, d]) }),
        _ => json!({ "hex": hex(value) }),
    }
}

fn gcp(value: &[u8]) -> Value {
    match <[u8; 8]>::try_from(value) {
        // A string, as in Google's own JSON: not every reader keeps 64 bits of a number.
        Ok(id) => json!({ "psc_connection_id": u64::from_be_bytes(id).to_string() }),
        Err(_) => json!({ "hex": hex(value) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(tlvs: &[(u8, &[u8])]) -> Vec<u8> {
        tlvs.iter().fold(Vec::new(), |mut bytes, (kind, value)| {
            emit(&mut bytes, *kind, value);
            bytes
        })
    }

    #[test]
    fn each_type_by_its_name() {
        let ssl = {
            let inner: [(u8, &[u8]); 6] = [
                (0x21, b"TLSv1.3"),
                (0x22, b"client.example"),
                (0x23, b"ECDHE-RSA-AES128-GCM-SHA256"),
                (0x24, b"SHA256"),
                (0x25, b"RSA2048"),
                (0x2f, b"\x01"),
            ];
            [&[0x05, 0, 0, 0, 18][..], &emitted(&inner)].concat()
        };
        let table: [(u8, &[u8], &str); 21] = [
            (ALPN, b"h2", r#"{"alpn":"h2"}"#),
            (
                AUTHORITY,
                "b\u{fc}cher.example".as_bytes(),
                r#"{"authority":"bücher.example"}"#,
            ),
            (AUTHORITY, b"\xff\xfe", r#"{"authority":{"hex":"fffe"}}"#),
            (AUTHORITY, b"a\nb", r#"{"authority":{"hex":"610a62"}}"#),
            (CRC32C, b"\x01\x02\x03\x04", r#"{"crc32c":"01020304"}"#),
            (NOOP, b"\0\0", r#"{"noop":"0000"}"#),
            (
                UNIQUE_ID,
                b"AC100001:9C41",
                r#"{"unique_id":"AC100001:9C41"}"#,
            ),
            (UNIQUE_ID, b"\x00\x01", r#"{"unique_id":{"hex":"0001"}}"#),
            (
                SSL,
                &ssl,
                concat!(
                    r#"{"ssl":{"client":["ssl","cert_sess"],"verify":18,"version":"TLSv1.3","#,
                    r#""cn":"client.example","cipher":"ECDHE-RSA-AES128-GCM-SHA256","#,
                    r#""sig_alg":"SHA256","key_alg":"RSA2048","0x2f":"01"}}"#
                ),
            ),
            (SSL, b"\0\0\0\0\0", r#"{"ssl":{"client":[],"verify":0}}"#),
            (SSL, b"\0\0\0\0", r#"{"ssl":{"hex":"00000000"}}"#),
            (NETNS, b"blue", r#"{"netns":"blue"}"#),
            (
                AWS,
                b"\x01vpce-08d2bf15fac5001c9",
                r#"{"aws":{"vpce_id":"vpce-08d2bf15fac5001c9"}}"#,
            ),
            (AWS, b"\x02?", r#"{"aws":{"hex":"023f"}}"#),
            (
                AZURE,
                b"\x01\x04\x03\x02\x01",
                r#"{"azure":{"linkid":16909060}}"#,
            ),
            (AZURE, b"\x01\x04", r#"{"azure":{"hex":"0104"}}"#),
            (
                GCP,
                &[0xff; 8],
                r#"{"gcp":{"psc_connection_id":"18446744073709551615"}}"#,
            ),
            (GCP, b"\x01", r#"{"gcp":{"hex":"01"}}"#),
            (0xf1, b"\xab\xcd", r#"{"0xf1":"abcd"}"#),
            (0x00, b"", r#"{"0x00":""}"#),
            (0x21, b"TLSv1.3", r#"{"0x21":"544c5376312e33"}"#),
        ];
        for (kind, value, says) in table {
            let described = Value::Object(describe(&emitted(&[(kind, value)])));
            assert_eq!(described.to_string(), says);
        }
    }

    #[test]
    fn repeated_types_become_a_list() {
        let bytes = emitted(&[(NETNS, b"a"), (ALPN, b"h2"), (NETNS, b"b"), (NETNS, b"c")]);
        let described = Value::Object(describe(&bytes));
        assert_eq!(
            described.to_string(),
            r#"{"netns":["a","b","c"],"alpn":"h2"}"#
        );
    }
}

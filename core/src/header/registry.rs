//! Configuration -> codec.
//!
//! The configuration of a codec is an object: `{"name": "proxy-v2", "kind": "proxy-v2"}`. `name` is
//! what rules and flow records say; `kind` is one of
//!
//! | kind | further keys |
//! |---|---|
//! | `proxy-v1`, `proxy-v2` | |
//! | `sslproxy` | `position`: `any` (default; the YAML has none), `front`, `request` |
//! | `magic` | `magic`: the site's 8 bytes in hex |
//! | `layout` | `encoding`: `binary` (default), `text`; `layout`: fields; `max_length`: bytes |

use serde::Deserialize;
use serde_json::{Map, Value};

use super::layout::{Encoding, Layout};
use super::proxy_v1::ProxyV1;
use super::proxy_v2::ProxyV2;
use super::sslproxy::{Position, SslProxy};
use super::{Codec, Malformed, Parse, Truth};

/// Which format a codec reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// HAProxy's text line.
    ProxyV1,
    /// HAProxy's binary header.
    ProxyV2,
    /// SSLproxy's line.
    Sslproxy,
    /// The layout that ships as `magic`.
    Magic,
    /// A declared layout.
    Layout,
}

/// A codec as configuration gives it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodecSpec {
    /// What rules and flow records call it.
    pub name: String,
    /// Its format.
    pub kind: Kind,
    /// `sslproxy`: where its line may stand.
    pub position: Option<Position>,
    /// `magic`: the site's 8 bytes, in hex.
    pub magic: Option<String>,
    /// `layout`: how its fields are written.
    pub encoding: Option<Encoding>,
    /// `layout`: its fields.
    pub layout: Option<Vec<Value>>,
    /// `layout`: the most bytes of a header.
    pub max_length: Option<usize>,
}

/// Any codec, without a virtual call: parsing is on the packet's way.
#[derive(Clone, Debug)]
pub struct AnyCodec {
    name: String,
    format: Format,
}

#[derive(Clone, Debug)]
enum Format {
    ProxyV1(ProxyV1),
    ProxyV2(ProxyV2),
    SslProxy(SslProxy),
    Layout(Layout),
}

macro_rules! each {
    ($self:ident, $codec:ident => $call:expr) => {
        match &$self.format {
            Format::ProxyV1($codec) => $call,
            Format::ProxyV2($codec) => $call,
            Format::SslProxy($codec) => $call,
            Format::Layout($codec) => $call,
        }
    };
}

impl Codec for AnyCodec {
    fn name(&self) -> &str {
        &self.name
    }

    fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed> {
        each!(self, codec => codec.parse(stream))
    }

    fn max_len(&self) -> usize {
        each!(self, codec => codec.max_len())
    }

    fn describe(&self, header: &[u8]) -> Map<String, Value> {
        each!(self, codec => codec.describe(header))
    }

    fn emit(&self, truth: &Truth) -> Option<Vec<u8>> {
        each!(self, codec => codec.emit(truth))
    }
}

impl CodecSpec {
    /// One codec from JSON.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("codec: {error}"))
    }

    /// The keys that are set and that no codec of this kind reads.
    fn stray(&self) -> Option<&'static str> {
        let is = |kind: Kind| self.kind == kind;
        [
            ("position", self.position.is_some() && !is(Kind::Sslproxy)),
            ("magic", self.magic.is_some() && !is(Kind::Magic)),
            ("encoding", self.encoding.is_some() && !is(Kind::Layout)),
            ("layout", self.layout.is_some() && !is(Kind::Layout)),
            ("max_length", self.max_length.is_some() && !is(Kind::Layout)),
        ]
        .iter()
        .find(|(_, stray)| *stray)
        .map(|(key, _)| *key)
    }
}

/// The codec that `spec` describes.
///
/// # Errors
/// A sentence that names the codec, the key and, in a layout, the field's index.
pub fn build(spec: &CodecSpec) -> Result<AnyCodec, String> {
    let name = &spec.name;
    let named = |error: String| format!("codec {name:?}: {error}");
    if name.is_empty() {
        return Err(named("name: must not be empty".into()));
    }
    if let Some(key) = spec.stray() {
        return Err(named(format!("{key}: is not a key of this kind")));
    }
    let format = match spec.kind {
        Kind::ProxyV1 => Format::ProxyV1(ProxyV1),
        Kind::ProxyV2 => Format::ProxyV2(ProxyV2),
        Kind::Sslproxy => Format::SslProxy(SslProxy::new(spec.position.unwrap_or_default())),
        Kind::Magic => {
            let magic = spec
                .magic
                .as_deref()
                .ok_or_else(|| named("magic: is absent".into()))?;
            Format::Layout(Layout::magic(name, magic).map_err(named)?)
        }
        Kind::Layout => {
            let fields = spec
                .layout
                .as_deref()
                .ok_or_else(|| named("layout: is absent".into()))?;
            let encoding = spec.encoding.unwrap_or_default();
            Format::Layout(Layout::declare(name, encoding, fields, spec.max_length).map_err(named)?)
        }
    };
    Ok(AnyCodec {
        name: name.clone(),
        format,
    })
}

/// All codecs of a configuration, in its order.
///
/// # Errors
/// As [`build`]; or two codecs have one name.
pub fn build_all(specs: &[CodecSpec]) -> Result<Vec<AnyCodec>, String> {
    let mut codecs: Vec<AnyCodec> = Vec::with_capacity(specs.len());
    for spec in specs {
        if codecs.iter().any(|codec| codec.name == spec.name) {
            return Err(format!("codec {:?}: the name is there twice", spec.name));
        }
        codecs.push(build(spec)?);
    }
    Ok(codecs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::testing;

    fn from(json: &str) -> Result<AnyCodec, String> {
        CodecSpec::from_json(json.as_bytes()).and_then(|spec| build(&spec))
    }

    #[test]
    fn every_kind_by_its_own_name() {
        let table = [
            (r#"{"name":"proxy-v1","kind":"proxy-v1"}"#, 107),
            (r#"{"name":"v2","kind":"proxy-v2"}"#, 65551),
            (r#"{"name":"sslproxy","kind":"sslproxy"}"#, 8492),
            (
                r#"{"name":"pop3","kind":"sslproxy","position":"front"}"#,
                300,
            ),
            (
                r#"{"name":"magic","kind":"magic","magic":"d1e0c0ffee5eedb5"}"#,
                45,
            ),
            (
                r#"{"name":"ours","kind":"layout","layout":[{"bytes":"4f555253"},{"u8":"length"},
                    {"ipv4":"peer"},{"u16be":"peer_port"},
                    {"ipv4":"destination"},{"u16be":"destination_port"}]}"#,
                17,
            ),
            (
                r#"{"name":"line","kind":"layout","encoding":"text","max_length":100,"layout":[
                    {"literal":"PEER "},{"ip":"peer"},{"separator":" "},{"decimal":"peer_port"},
                    {"literal":" TO "},{"ip":"destination"},{"separator":" "},
                    {"decimal":"destination_port"},{"terminator":"\n"}]}"#,
                100,
            ),
        ];
        let truth = testing::truth("203.0.113.7:46421", "192.168.110.2:80");
        for (json, max_len) in table {
            let codec = from(json).expect(json);
            assert!(json.contains(&format!("\"name\":\"{}\"", codec.name())));
            assert_eq!(codec.max_len(), max_len, "{json}");
            testing::round_trip(&codec, &truth, b"tail").expect(json);
        }
    }

    #[test]
    fn errors_name_the_codec_and_the_key() {
        let table = [
            (
                r#"{"name":"a"}"#,
                "codec: missing field `kind` at line 1 column 12",
            ),
            (
                r#"{"name":"a","kind":"proxy-v3"}"#,
                "codec: unknown variant `proxy-v3`, expected one of `proxy-v1`, `proxy-v2`, \
                 `sslproxy`, `magic`, `layout` at line 1 column 29",
            ),
            (
                r#"{"name":"","kind":"proxy-v1"}"#,
                r#"codec "": name: must not be empty"#,
            ),
            (
                r#"{"name":"a","kind":"magic"}"#,
                r#"codec "a": magic: is absent"#,
            ),
            (
                r#"{"name":"a","kind":"layout"}"#,
                r#"codec "a": layout: is absent"#,
            ),
            (
                r#"{"name":"a","kind":"proxy-v1","magic":"00"}"#,
                r#"codec "a": magic: is not a key of this kind"#,
            ),
            (
                r#"{"name":"a","kind":"magic","magic":"d1e0c0ffee5eedb"}"#,
                r#"codec "a": magic: "d1e0c0ffee5eedb" is not 8 bytes in hexadecimal digits"#,
            ),
            (
                r#"{"name":"a","kind":"layout","layout":[{"u24":1}]}"#,
                "codec \"a\": layout[0]: has {u24}; must have exactly one of: \
                 bytes, u8, u16be, u16le, u32be, u32le, ip, ipv4, ipv6, skip, padding",
            ),
        ];
        for (json, error) in table {
            assert_eq!(from(json).map(|codec| codec.name), Err(error.to_owned()));
        }
        let spec = CodecSpec::from_json(br#"{"name":"a","kind":"proxy-v1"}"#).expect("a codec");
        let twice = build_all(&[spec.clone(), spec]).map(|codecs| codecs.len());
        assert_eq!(
            twice,
            Err(r#"codec "a": the name is there twice"#.to_owned())
        );
    }
}

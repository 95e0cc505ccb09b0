//! What the engine is told: one JSON object, written by `reassembly` from the operator's YAML.

use std::fmt;

use serde::Deserialize;

use crate::header::registry::{self, AnyCodec, CodecSpec};

use super::rules::{Net, Rule, Rules};

/// Why a configuration was refused; the text names the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// What becomes of the packets of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The header goes, addresses stay as observed.
    #[default]
    Strip,
    /// The header goes and the true addresses come in.
    Restore,
}

/// What becomes of packets that nothing is known about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// They are passed on as they are.
    #[default]
    Pass,
    /// They are dropped and counted.
    Drop,
}

/// What becomes of offloaded frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Superframes {
    /// One frame in, one frame out.
    #[default]
    Keep,
    /// Cut to the connection's maximum segment size.
    Segment,
}

/// Bounds on the engine's state.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Tracked connections.
    pub connections: usize,
    /// Tracked half-open connections.
    pub half_open: usize,
    /// Packets that one connection holds back.
    pub hold_packets: usize,
    /// Bytes that one connection holds back.
    pub hold_bytes: usize,
    /// How long a connection holds packets back.
    pub hold_seconds: f64,
    /// Bytes that all connections hold back.
    pub hold_total_bytes: usize,
    /// Fragments held until their datagram is whole.
    pub fragments: usize,
    /// How long they are held.
    pub fragment_seconds: f64,
    /// How long a silent connection is remembered.
    pub idle_seconds: f64,
    /// The same for a half-open one.
    pub half_open_seconds: f64,
    /// The same for a closed one.
    pub closed_seconds: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1_000_000,
            half_open: 65_536,
            hold_packets: 256,
            hold_bytes: 1 << 20,
            hold_seconds: 3.0,
            hold_total_bytes: 64 << 20,
            fragments: 4096,
            fragment_seconds: 30.0,
            idle_seconds: 3600.0,
            half_open_seconds: 60.0,
            closed_seconds: 60.0,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewaySpec {
    from: String,
    #[serde(default)]
    from_port: Option<u16>,
    to: String,
    #[serde(default)]
    to_port: Option<u16>,
    headers: Vec<String>,
    #[serde(default)]
    required: bool,
    #[serde(default = "one")]
    depth: u8,
}

fn one() -> u8 {
    1
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    midstream: Policy,
    #[serde(default)]
    other: Policy,
    #[serde(default)]
    superframes: Superframes,
    codecs: Vec<CodecSpec>,
    gateways: Vec<GatewaySpec>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    announce: bool,
    #[serde(default = "yes")]
    records: bool,
}

/// The engine's configuration, checked.
pub struct Config {
    /// Strip or restore.
    pub mode: Mode,
    /// Connections whose beginning was not captured.
    pub midstream: Policy,
    /// Traffic that is not tracked.
    pub other: Policy,
    /// Offloaded frames.
    pub superframes: Superframes,
    /// Header formats.
    pub codecs: Vec<AnyCodec>,
    /// The legs.
    pub rules: Rules,
    /// Bounds.
    pub limits: Limits,
    /// Whether a record is also made when a verdict is known.
    pub announce: bool,
    /// Whether records are made at all.
    pub records: bool,
}

/// The most legs and codecs: their numbers are kept in two bytes and one.
const MAX_RULES: usize = 65_535;
const MAX_CODECS: usize = 255;

/// The most stacked headers on one leg: more hops than any real chain has.
const MAX_DEPTH: u8 = 8;

impl Config {
    /// Reads the JSON form. Every key but `codecs` and `gateways` has a default.
    pub fn from_json(json: &[u8]) -> Result<Config, ConfigError> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let spec: Spec = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| ConfigError(format!("{}: {}", error.path(), error.inner())))?;
        reader
            .end()
            .map_err(|error| ConfigError(error.to_string()))?;
        let refuse = |text: String| Err(ConfigError(text));
        if spec.codecs.len() > MAX_CODECS || spec.gateways.len() > MAX_RULES {
            return refuse(format!(
                "at most {MAX_CODECS} codecs and {MAX_RULES} gateways"
            ));
        }
        let codecs =
            registry::build_all(&spec.codecs).map_err(|e| ConfigError(format!("codecs: {e}")))?;
        let mut rules = Vec::new();
        for (at, gateway) in spec.gateways.iter().enumerate() {
            rules.push(
                rule(gateway, &codecs).map_err(|e| ConfigError(format!("gateways[{at}].{e}")))?,
            );
        }
        check_limits(&spec.limits)?;
        Ok(Config {
            mode: spec.mode,
            midstream: spec.midstream,
            other: spec.other,
            superframes: spec.superframes,
            codecs,
            rules: Rules::new(rules),
            limits: spec.limits,
            announce: spec.announce,
            records: spec.records,
        })
    }
}

fn rule(gateway: &GatewaySpec, codecs: &[AnyCodec]) -> Result<Rule, String> {
    use crate::header::Codec;

    let mut chosen = Vec::new();
    for name in &gateway.headers {
        match codecs.iter().position(|codec| codec.name() == name) {
            Some(at) => chosen.push(at as u8),
            None => return Err(format!("headers: no codec is named {name:?}")),
        }
    }
    if chosen.is_empty() {
        return Err("headers: at least one codec is needed".into());
    }
    if !(1..=MAX_DEPTH).contains(&gateway.depth) {
        return Err(format!(
            "depth: {} is not in 1..={MAX_DEPTH}",
            gateway.depth
        ));
    }
    let longest = chosen
        .iter()
        .map(|at| codecs[usize::from(*at)].max_len())
        .max()
        .unwrap_or(0);
    Ok(Rule {
        from: Net::parse(&gateway.from).map_err(|e| format!("from: {e}"))?,
        from_port: gateway.from_port,
        to: Net::parse(&gateway.to).map_err(|e| format!("to: {e}"))?,
        to_port: gateway.to_port,
        header_bytes: longest * usize::from(gateway.depth),
        codecs: chosen,
        required: gateway.required,
        depth: gateway.depth,
    })
}

fn check_limits(limits: &Limits) -> Result<(), ConfigError> {
    // The table is reserved whole, as address space: more than this many entries is a mistake.
    const MOST_ENTRIES: usize = 1 << 24;
    const MOST: usize = (1 << 30) - 1;
    let counts = [
        ("connections", limits.connections, MOST_ENTRIES),
        ("half_open", limits.half_open, MOST_ENTRIES),
        ("hold_packets", limits.hold_packets, MOST),
        ("hold_bytes", limits.hold_bytes, MOST),
        ("hold_total_bytes", limits.hold_total_bytes, MOST),
        ("fragments", limits.fragments, MOST),
    ];
    for (name, count, most) in counts {
        if !(1..=most).contains(&count) {
            return Err(ConfigError(format!(
                "limits.{name}: {count} is not in 1..={most}"
            )));
        }
    }
    let times = [
        ("hold_seconds", limits.hold_seconds),
        ("fragment_seconds", limits.fragment_seconds),
        ("idle_seconds", limits.idle_seconds),
        ("half_open_seconds", limits.half_open_seconds),
        ("closed_seconds", limits.closed_seconds),
    ];
    for (name, seconds) in times {
        if !(0.0..=1e8).contains(&seconds) {
            return Err(ConfigError(format!(
                "limits.{name}: {seconds} is not in 0..=1e8 seconds"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(json: &str) -> String {
        Config::from_json(json.as_bytes())
            .err()
            .map(|e| e.0)
            .unwrap_or_default()
    }

    #[test]
    fn refusals_name_the_key() {
        let gateway = |edit: &str| {
            format!(
                r#"{{"codecs": [{{"name": "proxy-v2", "kind": "proxy-v2"}}],
                     "gateways": [{{"from": "10.0.0.1/32", "to": "10.0.0.2/32", {edit}}}]}}"#
            )
        };
        let good = r#""headers": ["proxy-v2"]"#;
        assert_eq!(error_of(&gateway(good)), "");
        let table = [
            (
                gateway(r#""headers": ["x"]"#),
                r#"gateways[0].headers: no codec is named "x""#,
            ),
            (
                gateway(r#""headers": []"#),
                "gateways[0].headers: at least one codec is needed",
            ),
            (
                gateway(&format!("{good}, \"depth\": 0")),
                "gateways[0].depth: 0 is not in 1..=8",
            ),
            (
                gateway(&format!("{good}, \"color\": 0")),
                "unknown field `color`",
            ),
            (
                gateway(good).replace("10.0.0.1/32", "10.0.0.1/33"),
                "gateways[0].from: ",
            ),
            (
                gateway(good).replace("\"codecs\"", "\"mode\": \"x\", \"codecs\""),
                "unknown variant `x`",
            ),
            (
                gateway(good).replace("\"codecs\"", "\"limits\": {\"fragments\": 0}, \"codecs\""),
                "limits.fragments: 0 is not in 1..=1073741823",
            ),
        ];
        for (json, wanted) in table {
            let error = error_of(&json);
            assert!(
                error.contains(wanted),
                "{error:?} should contain {wanted:?}"
            );
        }
    }
}

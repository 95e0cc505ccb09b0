//! Header codecs for Python: single functions over bytes, for tests and tools.

use std::net::{IpAddr, SocketAddr};

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::Value;

use super::json_to_python;
use crate::header::proxy_v2::{Builder, Transport};
use crate::header::registry::build;
use crate::header::{AnyCodec, Codec, CodecSpec, Parse, Truth};

create_exception!(
    peeltap_core,
    MalformedHeaderError,
    PyValueError,
    "The bytes began as the codec's format and then broke the rule that the message names."
);

fn codec(json: &[u8]) -> PyResult<AnyCodec> {
    CodecSpec::from_json(json)
        .and_then(|spec| build(&spec))
        .map_err(PyValueError::new_err)
}

fn truth(peer: &str, peer_port: u16, destination: &str, destination_port: u16) -> PyResult<Truth> {
    let address = |name: &str, text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| PyValueError::new_err(format!("{name}: {text:?} is not an IP address")))
    };
    let peer = SocketAddr::new(address("peer", peer)?, peer_port);
    let destination = SocketAddr::new(address("destination", destination)?, destination_port);
    Truth::new(peer, destination)
        .ok_or_else(|| PyValueError::new_err("peer and destination are of two families"))
}

#[pyfunction]
pub fn parse_header<'py>(
    py: Python<'py>,
    codec: &[u8],
    stream: &[u8],
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let codec = self::codec(codec)?;
    let answer = PyDict::new(py);
    let found = match codec.parse(stream) {
        Ok(Parse::NotMine) => return Ok(None),
        Ok(Parse::NeedMore) => {
            answer.set_item("complete", false)?;
            return Ok(Some(answer));
        }
        Ok(Parse::Header(found)) => found,
        Err(malformed) => return Err(MalformedHeaderError::new_err(malformed.0)),
    };
    answer.set_item("complete", true)?;
    answer.set_item("codec", codec.name())?;
    answer.set_item("start", found.start)?;
    answer.set_item("length", found.len)?;
    let addresses = found.truth.map(|Truth { peer, destination }| {
        let addresses = PyDict::new(py);
        addresses.set_item("src_ip", peer.ip().to_string())?;
        addresses.set_item("src_port", peer.port())?;
        addresses.set_item("dest_ip", destination.ip().to_string())?;
        addresses.set_item("dest_port", destination.port())?;
        PyResult::Ok(addresses)
    });
    answer.set_item("true", addresses.transpose()?)?;
    let header = &stream[found.start..found.start + found.len];
    answer.set_item(
        "tlvs",
        json_to_python(py, &Value::Object(codec.describe(header)))?,
    )?;
    Ok(Some(answer))
}

#[pyfunction]
pub fn emit_header<'py>(
    py: Python<'py>,
    codec: &[u8],
    peer: &str,
    peer_port: u16,
    destination: &str,
    destination_port: u16,
) -> PyResult<Bound<'py, PyBytes>> {
    let codec = self::codec(codec)?;
    let truth = truth(peer, peer_port, destination, destination_port)?;
    let header = codec.emit(&truth).ok_or_else(|| {
        PyValueError::new_err(format!("{} cannot carry these addresses", codec.name()))
    })?;
    Ok(PyBytes::new(py, &header))
}

#[pyfunction]
#[pyo3(signature = (peer, peer_port, destination, destination_port, *, tlvs=Vec::new(), crc32c=false, dgram=false))]
#[expect(
    clippy::too_many_arguments,
    reason = "keyword arguments of one flat Python function"
)]
pub fn emit_proxy_v2<'py>(
    py: Python<'py>,
    peer: &str,
    peer_port: u16,
    destination: &str,
    destination_port: u16,
    tlvs: Vec<(u8, Vec<u8>)>,
    crc32c: bool,
    dgram: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let truth = truth(peer, peer_port, destination, destination_port)?;
    let transport = if dgram {
        Transport::Dgram
    } else {
        Transport::Stream
    };
    let header = Builder::proxy_over(&truth, transport).and_then(|builder| {
        let builder = tlvs
            .iter()
            .fold(builder, |builder, (kind, value)| builder.tlv(*kind, value));
        if crc32c { builder.crc32c() } else { builder }.finish()
    });
    let header = header.ok_or_else(|| PyValueError::new_err("tlvs: do not fit into one header"))?;
    Ok(PyBytes::new(py, &header))
}

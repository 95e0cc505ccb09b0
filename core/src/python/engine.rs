//! `Engine`: one frame at a time, for tests and tools. Files go through `Replay`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::{self, Checksum, Config, Fate, Link, Meta, Nanos, Output};

/// What left the engine: slot and frame.
type Packets = Vec<(u64, Vec<u8>)>;

#[derive(Default)]
struct Collect(Packets);

impl Output for Collect {
    fn emit(&mut self, slot: u64, _meta: &Meta, frame: &[u8]) {
        self.0.push((slot, frame.to_vec()));
    }

    fn settle(&mut self, _slot: u64) {}
}

/// See `peeltap_core.pyi`.
#[pyclass(module = "peeltap_core")]
pub struct Engine {
    engine: engine::Engine,
    slot: u64,
}

fn link_of(name: &str) -> PyResult<Link> {
    Ok(match name {
        "ethernet" => Link::Ethernet,
        "raw" => Link::Raw,
        "sll" => Link::Sll,
        "sll2" => Link::Sll2,
        "null" => Link::Null,
        _ => {
            let text = format!("link {name:?} is none of ethernet, raw, sll, sll2, null");
            return Err(PyValueError::new_err(text));
        }
    })
}

fn to_python<'py>(py: Python<'py>, packets: Packets) -> Vec<(u64, Bound<'py, PyBytes>)> {
    packets
        .into_iter()
        .map(|(slot, frame)| (slot, PyBytes::new(py, &frame)))
        .collect()
}

#[pymethods]
impl Engine {
    #[new]
    fn new(config: &[u8]) -> PyResult<Engine> {
        let config =
            Config::from_json(config).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Engine {
            engine: engine::Engine::new(config),
            slot: 0,
        })
    }

    #[pyo3(signature = (ts_ns, frame, *, link = "ethernet", orig_len = None, partial_checksum = false, gso_size = 0))]
    #[allow(clippy::too_many_arguments)]
    fn push<'py>(
        &mut self,
        py: Python<'py>,
        ts_ns: Nanos,
        frame: &[u8],
        link: &str,
        orig_len: Option<u32>,
        partial_checksum: bool,
        gso_size: u16,
    ) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
        let meta = Meta {
            ts: ts_ns,
            orig_len: orig_len.unwrap_or(frame.len() as u32),
            link: link_of(link)?,
            checksum: if partial_checksum {
                Checksum::Partial
            } else {
                Checksum::Unknown
            },
            gso_size,
        };
        let slot = self.slot;
        self.slot += 1;
        let mut frame = frame.to_vec();
        let mut out = Collect::default();
        match self.engine.push(slot, &meta, &mut frame, &mut out) {
            Fate::Pass => out.0.push((slot, frame)),
            Fate::Rewritten { start, end, .. } => out.0.push((slot, frame[start..end].to_vec())),
            Fate::Emitted | Fate::Gone | Fate::Held => {}
        }
        Ok(to_python(py, out.0))
    }

    fn advance<'py>(&mut self, py: Python<'py>, ts_ns: Nanos) -> Vec<(u64, Bound<'py, PyBytes>)> {
        let mut out = Collect::default();
        self.engine.advance(ts_ns, &mut out);
        to_python(py, out.0)
    }

    fn finish<'py>(&mut self, py: Python<'py>) -> Vec<(u64, Bound<'py, PyBytes>)> {
        let mut out = Collect::default();
        self.engine.finish(&mut out);
        while self.engine.close_some(4096, &mut out) {}
        to_python(py, out.0)
    }

    #[pyo3(signature = (*, full, slots = 65536))]
    fn checkpoint<'py>(
        &mut self,
        py: Python<'py>,
        full: bool,
        slots: usize,
    ) -> Bound<'py, PyBytes> {
        let mut all = Vec::new();
        self.engine.checkpoint_begin(full);
        while let Some(piece) = self.engine.checkpoint_some(slots) {
            all.extend_from_slice(&piece);
        }
        PyBytes::new(py, &all)
    }

    #[pyo3(signature = (checkpoint, *, shared = false))]
    fn resume(&mut self, checkpoint: &[u8], shared: bool) -> PyResult<usize> {
        let taken = self.engine.resume(checkpoint, shared);
        taken.map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn take_records<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.engine.take_records())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        super::json_to_python(py, &serde_json::Value::Object(self.engine.stats_json()))
    }
}

//! Corrected events for Python: blocks of lines, and the records that they are corrected by.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict};

use crate::events::flows::{Ends, Facts, Flows};
use crate::events::known::{Answer, Known};

/// A record as Python has it.
struct Token(Py<PyAny>);

impl Clone for Token {
    fn clone(&self) -> Self {
        Self(Python::attach(|py| self.0.clone_ref(py)))
    }
}

/// `Endpoints`.
type Tuple = (PyBackedStr, u16, PyBackedStr, u16);

fn ends((src_ip, src_port, dest_ip, dest_port): &Tuple) -> Option<Ends> {
    let ip = |text: &str| text.parse::<IpAddr>().ok();
    Some(((ip(src_ip)?, *src_port), (ip(dest_ip)?, *dest_port)))
}

/// See the stub.
#[pyfunction]
pub fn count_lines(data: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', data).count()
}

/// See the stub.
///
/// One thread puts while another corrects. The interpreter may change threads while arguments are
/// read, so it is locked for what is done without Python alone.
#[pyclass(frozen)]
#[derive(Default)]
pub struct FlowIndex(Mutex<Flows<Token>>);

impl FlowIndex {
    fn flows(&self) -> MutexGuard<'_, Flows<Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl FlowIndex {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn __len__(&self) -> usize {
        self.flows().len()
    }

    #[expect(clippy::too_many_arguments, reason = "a record, flat")]
    fn put(
        &self,
        record: Py<PyAny>,
        observed: Tuple,
        truth: Option<Tuple>,
        id: PyBackedStr,
        vlan: &Bound<'_, PyAny>,
        start: &Bound<'_, PyAny>,
        end: &Bound<'_, PyAny>,
        codecs: Vec<PyBackedStr>,
        verdict: PyBackedStr,
    ) {
        // What has no such ends is the end of no event that is corrected here.
        let Some(key) = ends(&observed) else { return };
        let token = Token(record);
        let truth = truth.as_ref().map(ends);
        // Python's integers have no end.
        let (Ok(vlan), Ok(start), Ok(end)) = (vlan.extract(), start.extract(), end.extract())
        else {
            return self.flows().keep_odd(key, token);
        };
        if truth == Some(None) {
            return self.flows().keep_odd(key, token);
        }
        let codecs: Vec<&str> = codecs.iter().map(|codec| &**codec).collect();
        let facts = Facts {
            id: &id,
            truth: truth.flatten(),
            vlan,
            start,
            end,
            codecs: &codecs,
            verdict: &verdict,
        };
        self.flows().keep(key, &facts, token);
    }

    fn put_odd(&self, record: Py<PyAny>, observed: Tuple) {
        if let Some(key) = ends(&observed) {
            self.flows().keep_odd(key, Token(record));
        }
    }

    fn remove(&self, record: &Bound<'_, PyAny>, observed: Tuple) {
        if let Some(key) = ends(&observed) {
            self.flows().forget(key, |token| token.0.is(record));
        }
    }

    fn clear(&self) {
        self.flows().clear();
    }
}

/// See the stub.
#[pyclass]
pub struct KnownEvents {
    known: Known<Token>,
    flows: Py<FlowIndex>,
    /// Kept from block to block.
    out: Vec<u8>,
}

#[pymethods]
impl KnownEvents {
    #[new]
    #[pyo3(signature = (flows=None, *, seed=0, tells_alerts=true))]
    fn new(
        py: Python<'_>,
        flows: Option<Py<FlowIndex>>,
        seed: u16,
        tells_alerts: bool,
    ) -> PyResult<Self> {
        Ok(Self {
            known: Known::new(seed, tells_alerts),
            flows: match flows {
                Some(flows) => flows,
                None => Py::new(py, FlowIndex::default())?,
            },
            out: Vec::new(),
        })
    }

    fn __len__(&self) -> usize {
        self.known.len()
    }

    fn clear(&mut self) {
        self.known.clear();
    }

    fn allow(&mut self, kind: &str) {
        self.known.allow(kind.as_bytes());
    }

    fn hold(&mut self, flow: i64) {
        self.known.hold(flow);
    }

    fn release(&mut self, flow: i64) {
        self.known.release(flow);
    }

    fn release_all(&mut self) {
        self.known.release_all();
    }

    #[expect(
        clippy::too_many_arguments,
        clippy::type_complexity,
        reason = "one answer, flat as Python has it"
    )]
    fn learn(
        &mut self,
        line: &[u8],
        since: i64,
        until: i64,
        ends: Option<(Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>)>,
        community_id: Option<Vec<u8>>,
        member: Vec<u8>,
        record: Py<PyAny>,
    ) -> bool {
        let answer = Answer {
            moments: (since, until),
            ends: ends.map(|(a, b, c, d)| [a, b, c, d]),
            community_id,
            member,
            token: Token(record),
        };
        self.known.learn(line, answer)
    }

    #[pyo3(signature = (data, at, file=None, offset=0))]
    fn correct<'py>(
        &mut self,
        py: Python<'py>,
        data: &[u8],
        at: usize,
        file: Option<&[u8]>,
        offset: u64,
    ) -> (Bound<'py, PyBytes>, usize, u64) {
        self.out.clear();
        let place = file.map(|file| (file, offset));
        let at = at.min(data.len());
        let mut flows = self.flows.get().flows();
        let (at, lines) = self
            .known
            .correct(&mut flows, data, at, place, &mut self.out);
        drop(flows);
        (PyBytes::new(py, &self.out), at, lines)
    }

    #[expect(clippy::type_complexity, reason = "one flat tuple for Python")]
    fn take<'py>(
        &mut self,
        py: Python<'py>,
    ) -> PyResult<(
        u64,
        u64,
        u64,
        Bound<'py, PyDict>,
        u64,
        Vec<(Option<Py<PyAny>>, usize, usize)>,
    )> {
        let counts = &mut self.known.counts;
        let types = PyDict::new(py);
        for (kind, count) in &mut counts.types {
            if *count > 0 {
                types.set_item(String::from_utf8_lossy(kind), std::mem::take(count))?;
            }
        }
        let told = counts.told.as_mut().map(std::mem::take).unwrap_or_default();
        let told = told
            .into_iter()
            .map(|(token, span)| (token.map(|token| token.0), span.start, span.end))
            .collect();
        Ok((
            std::mem::take(&mut counts.exact),
            std::mem::take(&mut counts.time),
            std::mem::take(&mut counts.other),
            types,
            std::mem::take(&mut counts.alerts),
            told,
        ))
    }
}

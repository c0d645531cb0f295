//! How long RPCs take, by method and code.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Bounds in seconds: a replay takes a millisecond, RAM some hundred, a deadline half a minute.
const BOUNDS: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What methods that the server does not have are called together: a path is the caller's to choose, a label is not
/// (OpenTelemetry, semantic conventions of RPC).
const OTHER: &str = "_OTHER";

type Labels = [(&'static str, Arc<str>); 2];

/// The metrics of RPCs. Clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    methods: Arc<BTreeSet<Arc<str>>>,
}

impl Metrics {
    /// Tells apart the methods of these paths, as `/package.Service/Method`.
    #[must_use]
    pub fn new(methods: impl IntoIterator<Item = String>) -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            methods: Arc::new(methods.into_iter().map(Arc::from).collect()),
        }
    }

    /// Makes them part of `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "rpc_server_call_duration",
            "Time from the headers of a call to its end",
            Unit::Seconds,
            self.durations.clone(),
        );
    }

    pub(super) fn ended(&self, path: &str, code: &'static str, took: Duration) {
        let method = self.methods.get(path).cloned().unwrap_or_else(|| OTHER.into());
        let labels = [("rpc_method", method), ("rpc_response_status_code", code.into())];
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new([])
    }
}

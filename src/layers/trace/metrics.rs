//! How long RPCs take, by method and code.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Bounds in seconds: a replay takes a millisecond, RAM some hundred, a deadline half a minute.
const BOUNDS: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What methods that the server does not have are called together: a path is the caller's to choose, a label is not
/// (OpenTelemetry, semantic conventions of RPC).
const OTHER: &str = "_OTHER";

/// Named as OpenTelemetry names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    rpc_method: Arc<str>,
    rpc_response_status_code: &'static str,
}

/// The metrics of RPCs. Clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    methods: Arc<BTreeSet<Arc<str>>>,
    other: Arc<str>,
}

impl Metrics {
    /// Tells apart the methods of these paths, as `/package.Service/Method`.
    #[must_use]
    pub fn new(methods: impl IntoIterator<Item = String>) -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            methods: Arc::new(methods.into_iter().map(Arc::from).collect()),
            other: OTHER.into(),
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

    /// What the method of this path is called.
    pub(super) fn method(&self, path: &str) -> Arc<str> {
        Arc::clone(self.methods.get(path).unwrap_or(&self.other))
    }

    pub(super) fn ended(&self, rpc_method: Arc<str>, rpc_response_status_code: &'static str, took: Duration) {
        let labels = Labels {
            rpc_method,
            rpc_response_status_code,
        };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new([])
    }
}

//! The keys of the accept loop and of the layers.

use std::num::{NonZeroU32, NonZeroUsize};

use super::reader::Reader;
use crate::{
    layers::{attempt, deadline, idempotency, in_flight, limit_caller, pace, retry},
    rules,
    server::connections,
};

pub(super) fn in_flight(r: &mut Reader) -> in_flight::Settings {
    in_flight::Settings {
        max_calls: r.number(
            "in_flight.max_calls",
            in_flight::Settings::default().max_calls,
            1..=100_000,
            "Most calls in flight; further ones are refused with UNAVAILABLE.",
        ),
    }
}

pub(super) fn limits(r: &mut Reader) -> limit_caller::Settings {
    let default = limit_caller::Settings::default();
    let burst = r.number(
        "limits.burst",
        default.burst.get(),
        1..=100_000,
        "Most calls of one caller that may come at once after a pause.",
    );
    limit_caller::Settings {
        burst: NonZeroU32::new(burst).unwrap_or(default.burst),
        per_second: r.number(
            "limits.per_second",
            default.per_second,
            0..=100_000,
            "Most calls of one caller per second in the long run; further ones are refused with RESOURCE_EXHAUSTED. 0 \
             for no limit.",
        ),
        in_flight: r.number(
            "limits.in_flight",
            default.in_flight,
            0..=100_000,
            "Most calls of one caller in flight; further ones are refused with RESOURCE_EXHAUSTED. 0 for no limit.",
        ),
    }
}

pub(super) fn connections(r: &mut Reader) -> connections::Settings {
    let default = connections::Settings::default();
    connections::Settings {
        max_connections: r.number(
            "connections.max",
            default.max_connections,
            1..=100_000,
            "Most connections; further ones are closed at once.",
        ),
        max_connections_per_ip: r.number(
            "connections.per_ip",
            default.max_connections_per_ip,
            1..=100_000,
            "Most connections from one address.",
        ),
        preface_timeout: r.millis(
            "connections.preface_timeout_ms",
            default.preface_timeout,
            10..=60_000,
            "How long a new connection may take to begin HTTP/2.",
        ),
        max_age: r.seconds(
            "connections.max_age_s",
            default.max_age,
            1..=86_400,
            "When a connection is asked to end, give or take a tenth, so that clients spread over replicas.",
        ),
        max_age_grace: r.seconds(
            "connections.max_age_grace_s",
            default.max_age_grace,
            1..=3_600,
            "How long calls of such a connection may still take.",
        ),
        drain: r.millis(
            "connections.drain_ms",
            default.drain,
            0..=600_000,
            "How long calls may still take after SIGTERM or SIGINT. Keep it under the supervisor's own limit.",
        ),
        ..default
    }
}

pub(super) fn deadline(r: &mut Reader) -> deadline::Settings {
    let default = deadline::Settings::default();
    let settings = deadline::Settings {
        default: r.millis(
            "deadline.default_ms",
            default.default,
            100..=600_000,
            "Deadline of calls that send none.",
        ),
        max: r.millis(
            "deadline.max_ms",
            default.max,
            100..=600_000,
            "Longest deadline; longer ones are shortened to it.",
        ),
    };
    if settings.default > settings.max {
        r.fault("deadline.default_ms is greater than deadline.max_ms");
    }
    settings
}

pub(super) fn idempotency(r: &mut Reader) -> idempotency::Settings {
    let default = idempotency::Settings::default();
    let settings = idempotency::Settings {
        require_client_token: r.or_default(
            "idempotency.require_client_token",
            default.require_client_token,
            "true or false",
            "Refuses writes without a client token.",
        ),
        lease: r.millis(
            "idempotency.lease_ms",
            default.lease,
            1_000..=60_000,
            "How long a claim keeps other replicas from sending the same request.",
        ),
        ttl: r.seconds(
            "idempotency.ttl_s",
            default.ttl,
            3_600..=604_800,
            "How long an answer can be replayed.",
        ),
        token_memory: r.seconds(
            "idempotency.token_memory_s",
            default.token_memory,
            600..=86_400,
            "How long RAM remembers a client token. A request is resent only while it surely does.",
        ),
        signature_margin: r.seconds(
            "idempotency.signature_margin_s",
            default.signature_margin,
            300..=86_399,
            "How long a request that was given up can still arrive at RAM. Requests are resent for token_memory_s less \
             this.",
        ),
        marker_tag: r
            .or_default(
                "idempotency.marker_tag",
                default.marker_tag.to_string(),
                "a tag key that RAM accepts, or nothing",
                "Key of the tag that every new share carries with the token that RAM sees, so that it can be found when its \
                 request can no longer be repeated. Empty for no tag.",
            )
            .into(),
        cache_bytes: r.number(
            "idempotency.cache_bytes",
            default.cache_bytes,
            0..=1 << 30,
            "Memory for answers that are replayed without a look at the store. 0 for none.",
        ),
        ..default
    };
    if !settings.marker_tag.is_empty()
        && let Err(rule) = rules::tag_key(&settings.marker_tag)
    {
        r.fault(format!(
            "idempotency.marker_tag (RAM_FACADE_IDEMPOTENCY_MARKER_TAG) {rule}"
        ));
    }
    for (field, fault) in settings.faults() {
        r.fault(format!("idempotency.{field} {fault}"));
    }
    settings
}

pub(super) fn retry(r: &mut Reader) -> retry::Settings {
    let default = retry::Settings::default();
    let attempts = r.number(
        "retry.max_attempts",
        default.max_attempts.get(),
        1..=10,
        "Most attempts of one call, the first included.",
    );
    retry::Settings {
        max_attempts: NonZeroU32::new(attempts).unwrap_or(default.max_attempts),
        backoff: r.millis(
            "retry.backoff_ms",
            default.backoff,
            1..=10_000,
            "Bound of the first wait; it doubles.",
        ),
        max_backoff: r.millis(
            "retry.max_backoff_ms",
            default.max_backoff,
            1..=60_000,
            "Bound of every wait.",
        ),
        ..default
    }
}

pub(super) fn pace(r: &mut Reader) -> pace::Settings {
    let default = pace::Settings::default();
    let rate = pace::rate::Settings {
        initial: r.number(
            "pace.initial_rate",
            default.rate.initial,
            0.05..=10_000.0,
            "Requests a second that leave for RAM at the start.",
        ),
        min: r.number(
            "pace.min_rate",
            default.rate.min,
            0.05..=10_000.0,
            "Least requests a second, however much RAM throttles.",
        ),
        max: r.number(
            "pace.max_rate",
            default.rate.max,
            0.05..=10_000.0,
            "Most requests a second. Equal to pace.min_rate, the rate is fixed.",
        ),
    };
    if rate.min > rate.max {
        r.fault("pace.min_rate (RAM_FACADE_PACE_MIN_RATE) is greater than pace.max_rate");
    }
    let mut count = |key, default: NonZeroUsize, range, meaning| {
        NonZeroUsize::new(r.number(key, default.get(), range, meaning)).unwrap_or(default)
    };
    pace::Settings {
        rate,
        max_queued_per_caller: count(
            "pace.max_queued_per_caller",
            default.max_queued_per_caller,
            1..=10_000,
            "Most requests of one caller that wait to leave for RAM.",
        ),
        max_queued: count(
            "pace.max_queued",
            default.max_queued,
            1..=100_000,
            "Most requests that wait to leave for RAM.",
        ),
        max_wait: r.millis(
            "pace.max_wait_ms",
            default.max_wait,
            0..=60_000,
            "Longest expected wait with which a request is let in; others are refused with RATE_LIMIT_EXCEEDED.",
        ),
    }
}

pub(super) fn attempt(r: &mut Reader) -> attempt::Settings {
    let default = attempt::Settings::default();
    attempt::Settings {
        limit: r.millis(
            "attempt.limit_ms",
            default.limit,
            50..=60_000,
            "Longest one attempt against RAM may take.",
        ),
        ..default
    }
}

//! How many retries all calls together may make: a share of what goes through, and a trickle for quiet times.
//!
//! When most first attempts fail, retries would multiply the load that made them fail; an empty budget stops that and
//! answers at once.

use std::sync::{Mutex, PoisonError, atomic::AtomicU64};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

/// Size and refill of the budget.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most retries in stock, 0 to 1,000. Default 10: absorbs a blip.
    pub capacity: f64,
    /// Retries earned by a first attempt that was no transient failure, 0.0 to 1.0. Default 0.2.
    pub per_call: f64,
    /// Retries earned per second, 0.0 to 100.0. Default 0.1, so that a service with little traffic can still retry.
    pub per_second: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: 10.0,
            per_call: 0.2,
            per_second: 0.1,
        }
    }
}

/// A stock of retries, full at the start.
#[derive(Debug)]
pub struct Budget {
    settings: Settings,
    stock: Mutex<Stock>,
    /// Shows the stock.
    left: Gauge<f64, AtomicU64>,
}

#[derive(Debug)]
struct Stock {
    retries: f64,
    as_of: Instant,
}

impl Budget {
    /// A full budget, whose stock `left` shows.
    #[must_use]
    pub fn new(settings: Settings, left: Gauge<f64, AtomicU64>) -> Self {
        left.set(settings.capacity);
        Self {
            settings,
            left,
            stock: Mutex::new(Stock {
                retries: settings.capacity,
                as_of: Instant::now(),
            }),
        }
    }

    /// Adds `amount` and what time has earned; takes one out if `take` and there is one.
    fn update(&self, amount: f64, take: bool) -> bool {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.saturating_duration_since(stock.as_of).as_secs_f64() * self.settings.per_second;
        stock.as_of = now;
        stock.retries = (stock.retries + earned + amount).min(self.settings.capacity);
        let taken = take && stock.retries >= 1.0;
        if taken {
            stock.retries -= 1.0;
        }
        self.left.set(stock.retries);
        taken
    }
}

impl tower::retry::budget::Budget for Budget {
    fn deposit(&self) {
        self.update(self.settings.per_call, false);
    }

    fn withdraw(&self) -> bool {
        self.update(0.0, true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower::retry::budget::Budget as _;

    use super::*;

    fn budget(capacity: f64, per_call: f64, per_second: f64) -> Budget {
        let settings = Settings {
            capacity,
            per_call,
            per_second,
        };
        Budget::new(settings, Gauge::default())
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_budget_refuses_until_calls_or_time_fill_it() {
        let budget = budget(2.0, 0.5, 0.1);
        assert!(budget.withdraw() && budget.withdraw() && !budget.withdraw());

        budget.deposit();
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw());

        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(budget.withdraw() && !budget.withdraw());
    }

    #[tokio::test(start_paused = true)]
    async fn the_stock_never_exceeds_its_capacity() {
        let budget = budget(1.0, 1.0, 1.0);
        tokio::time::advance(Duration::from_secs(100)).await;
        budget.deposit();

        assert!(budget.withdraw() && !budget.withdraw());
    }
}

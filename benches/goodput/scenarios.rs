//! What is played: how RAM behaves and what callers want of it.

use super::upstream::Model;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its letter.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// RAM.
    pub model: Model,
    /// How long it lasts, in seconds of virtual time.
    pub duration: f64,
    /// Operations a second that callers begin, at random moments (Poisson).
    pub offered: f64,
    /// Operations that are all begun at the start.
    pub herd: u32,
    /// How many callers there are.
    pub callers: u32,
    /// The share of operations that the first caller begins; the others share the rest.
    pub heavy: f64,
    /// How often a caller tries an operation. It waits as it is told to between tries, or 1 s, doubling.
    pub tries: u32,
    /// How many processes there are, which know nothing of each other.
    pub replicas: u32,
    /// What to reach, for the facade.
    pub target: Target,
}

/// What to reach.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Least goodput, as a share of what is possible.
    pub goodput: f64,
    /// Most throttles per success.
    pub throttles: f64,
    /// Least share of the light callers' operations that succeed.
    pub light: f64,
}

const LOOSE: Target = Target {
    goodput: 0.0,
    throttles: f64::INFINITY,
    light: 0.0,
};

const BASE: Scenario = Scenario {
    name: "B",
    about: "twice as much offered as RAM takes",
    model: Model {
        caps: &[(0.0, 5.0)],
        burst: 10.0,
        refusal_cost: 0.0,
        outage: None,
        foreign: 0.0,
    },
    duration: 600.0,
    offered: 10.0,
    herd: 0,
    callers: 10,
    heavy: 0.1,
    tries: 1,
    replicas: 1,
    target: Target {
        goodput: 0.97,
        throttles: 0.05,
        light: 0.0,
    },
};

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "A",
        about: "less offered than RAM takes: nobody should wait",
        offered: 3.0,
        ..BASE
    },
    BASE,
    Scenario {
        name: "C",
        about: "eight times as much offered, 80 % of it by one caller",
        offered: 40.0,
        heavy: 0.8,
        target: Target {
            light: 0.5,
            ..BASE.target
        },
        ..BASE
    },
    Scenario {
        name: "D",
        about: "RAM takes 5/s, then 1/s from 200 s to 400 s, then 5/s",
        model: Model {
            caps: &[(0.0, 5.0), (200.0, 1.0), (400.0, 5.0)],
            ..BASE.model
        },
        offered: 6.0,
        ..BASE
    },
    Scenario {
        name: "E",
        about: "RAM answers 500 for a minute from 200 s on",
        model: Model {
            outage: Some((200.0, 260.0)),
            ..BASE.model
        },
        offered: 4.0,
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "F",
        about: "as B, and a refused request costs RAM's bucket half a token",
        model: Model {
            refusal_cost: 0.5,
            ..BASE.model
        },
        target: Target {
            goodput: 0.95,
            ..BASE.target
        },
        ..BASE
    },
    Scenario {
        name: "G",
        about: "slightly less offered than RAM takes, by callers who try five times",
        offered: 4.5,
        tries: 5,
        ..BASE
    },
    Scenario {
        name: "H",
        about: "more offered than RAM takes, five tries, a refusal costs 0.2 tokens",
        model: Model {
            refusal_cost: 0.2,
            ..BASE.model
        },
        offered: 6.0,
        tries: 5,
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "I",
        about: "as B, with three replicas",
        replicas: 3,
        target: Target {
            throttles: 0.2,
            ..BASE.target
        },
        ..BASE
    },
    Scenario {
        name: "J",
        about: "as B, while another program in the account asks 4/s",
        model: Model {
            foreign: 4.0,
            ..BASE.model
        },
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "K1",
        about: "RAM takes 1/s, twice that is offered, a refusal costs half a token",
        model: Model {
            caps: &[(0.0, 1.0)],
            refusal_cost: 0.5,
            ..BASE.model
        },
        offered: 2.0,
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "K20",
        about: "RAM takes 20/s, twice that is offered, a refusal costs half a token",
        model: Model {
            caps: &[(0.0, 20.0)],
            refusal_cost: 0.5,
            ..BASE.model
        },
        offered: 40.0,
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "L",
        about: "what RAM takes changes every minute",
        model: Model {
            caps: &[
                (0.0, 5.0),
                (60.0, 3.0),
                (120.0, 8.0),
                (180.0, 2.0),
                (240.0, 6.0),
                (300.0, 4.0),
                (360.0, 10.0),
                (420.0, 1.0),
                (480.0, 7.0),
                (540.0, 5.0),
            ],
            ..BASE.model
        },
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "M",
        about: "as E, with twice as much offered as RAM takes",
        model: Model {
            outage: Some((200.0, 260.0)),
            ..BASE.model
        },
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "N",
        about: "200 operations at once after a restart, five tries, then 3/s",
        offered: 3.0,
        herd: 200,
        tries: 5,
        target: LOOSE,
        ..BASE
    },
    Scenario {
        name: "O",
        about: "100 callers, of whom one sends nine tenths of 30/s",
        offered: 30.0,
        callers: 100,
        heavy: 0.9,
        target: Target { light: 0.5, ..LOOSE },
        ..BASE
    },
];

impl Scenario {
    /// The most operations a second that can succeed of those that were `begun`, but for what RAM's bucket holds at the
    /// start and for the luck of arrival.
    pub fn possible(&self, begun: u64) -> f64 {
        let offered = (begun as f64 - f64::from(self.herd)) / self.duration;
        let ends = self
            .model
            .caps
            .iter()
            .skip(1)
            .map(|(from, _)| *from)
            .chain([self.duration]);
        let mut sum = 0.0;
        for ((from, cap), to) in self.model.caps.iter().zip(ends) {
            let mut span = to - from;
            if let Some((begins, ends)) = self.model.outage {
                span -= (ends.min(to) - begins.max(*from)).max(0.0);
            }
            // What the foreign program leaves, but no less than an equal share.
            sum += span * (cap - self.model.foreign).max(cap / 2.0).min(offered);
        }
        (sum + f64::from(self.herd)) / self.duration
    }
}

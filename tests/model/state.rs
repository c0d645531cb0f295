//! What the world is at one moment: the store's record, RAM, the network, and what each executor is about to do.

use std::hash::{Hash, Hasher};

/// Time in steps of two minutes: the coarsest in which all the times of the rules are whole numbers.
pub(crate) type Tick = u8;

/// A tick in milliseconds.
pub(crate) const TICK: u64 = 120_000;
/// How long after its first request more may leave: 4 minutes.
pub(crate) const WINDOW: Tick = 2;
/// How long after it was signed a request can still arrive: 6 minutes, and not a moment longer.
pub(crate) const SIGNATURE: Tick = 3;
/// How long RAM remembers a token, counted from its execution: 10 minutes, the last moment included.
pub(crate) const MEMORY: Tick = 5;
/// How long after the window a missing share proves something: 8 minutes.
pub(crate) const SETTLING: Tick = 4;

/// Most executors in one exploration.
pub(crate) const MOST: usize = 3;

/// Whose request it is: two payloads are two requests under one client token.
pub(crate) type Payload = u8;

/// Whose claim it is. A claim whose executor is gone is nobody's.
pub(crate) type Owner = u8;
pub(crate) const NOBODY: Owner = 0xff;

/// A record without what no rule looks at within the horizon: the end of a lease is chance, the end of a record's life
/// lies behind the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rec {
    Absent,
    InFlight {
        payload: Payload,
        owner: Owner,
        first_sent: Tick,
    },
    Succeeded {
        payload: Payload,
    },
    Unknown {
        payload: Payload,
        first_sent: Tick,
    },
}

/// The share that RAM made. A second one ends an exploration, so there is never more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Share {
    pub(crate) payload: Payload,
    /// When it was made.
    pub(crate) at: Tick,
    /// Whether RAM still knows the token that it was made under.
    pub(crate) token_known: bool,
}

/// What a run knows: the part of `record::Run` that differs between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run {
    pub(crate) first_sent: Tick,
    pub(crate) in_doubt: bool,
}

/// What a swap expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Expected {
    Absent,
    /// A version, and whether it is still the record's. Versions are never used twice, so that is all there is to know.
    Version(bool),
}

/// A run's request that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    Empty,
    /// Sent this long ago.
    Sent(Tick),
    /// Its signature is too old by now: it cannot arrive any more.
    Stale,
    /// RAM answered success.
    Done,
    /// RAM answered that it did nothing: a refusal or a throttle.
    Refused,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    Succeeded,
    Failed { may_have_executed: bool },
}

/// What the end of a run is about to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Write {
    Put(Rec),
    Delete,
}

/// What an executor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Pc {
    /// Answered, crashed, or never needed.
    Gone,
    /// Its request is there, or will be: reads the clock, at some time since then, and loads the record.
    Start { since: Tick },
    /// Swaps its claim in. `behind`: the caller was told that the store is down, and the swap may yet be done.
    Claim {
        run: Run,
        over: Expected,
        anew: bool,
        behind: bool,
    },
    /// Looks at RAM's list of shares; the look began at `since`.
    List { run: Run, since: Tick, over: Expected },
    /// RAM's list came back with this.
    Listed {
        run: Run,
        since: Tick,
        found: bool,
        over: Expected,
    },
    /// Sends, waits, sends again.
    Run {
        run: Run,
        sends: u8,
        unanswered: bool,
        slot: Slot,
        /// Whether its claim's version is still the record's.
        fresh: bool,
    },
    /// Swaps the run's end in. `behind`: it was answered already.
    Finish {
        run: Run,
        end: End,
        write: Write,
        over: Expected,
        behind: bool,
    },
    /// Loads the record to finish.
    Look { run: Run, end: End, behind: bool },
    /// Its run failed under a claim that another replaced: waits for what becomes of the other.
    Poll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Executor {
    pub(crate) payload: Payload,
    pub(crate) pc: Pc,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: Tick,
    pub(crate) record: Rec,
    pub(crate) share: Option<Share>,
    /// Requests whose sender no longer waits, by payload and by how long ago they were signed.
    pub(crate) late: [[u8; SIGNATURE as usize + 1]; 2],
    /// Whether the store lost something.
    pub(crate) lost: bool,
    /// The request that may have been sent and is not settled, and when the first of its kind left: the truth that
    /// `first_sent` stands for.
    pub(crate) open: Option<(Tick, Payload)>,
    pub(crate) executors: [Executor; MOST],
}

impl State {
    /// Nothing was ever asked; `payloads` are about to be.
    pub(crate) fn new(payloads: &[Payload]) -> Self {
        let mut executors = [Executor {
            payload: 0,
            pc: Pc::Gone,
        }; MOST];
        for (executor, &payload) in executors.iter_mut().zip(payloads) {
            *executor = Executor {
                payload,
                pc: Pc::Start { since: 0 },
            };
        }
        let mut state = Self {
            now: 0,
            record: Rec::Absent,
            share: None,
            late: [[0; SIGNATURE as usize + 1]; 2],
            lost: false,
            open: None,
            executors,
        };
        state.settle();
        state
    }

    /// Changes the record and with it the version: nobody else's is current any more.
    pub(crate) fn write(&mut self, record: Rec) {
        self.record = record;
        for executor in &mut self.executors {
            match &mut executor.pc {
                Pc::Run { fresh, .. } => *fresh = false,
                Pc::Claim { over, .. }
                | Pc::List { over, .. }
                | Pc::Listed { over, .. }
                | Pc::Finish { over, .. } => {
                    if let Expected::Version(current) = over {
                        *current = false;
                    }
                }
                Pc::Gone | Pc::Start { .. } | Pc::Look { .. } | Pc::Poll => {}
            }
        }
    }

    pub(crate) fn matches(&self, over: Expected) -> bool {
        match over {
            Expected::Absent => self.record == Rec::Absent,
            Expected::Version(current) => current,
        }
    }

    pub(crate) fn expected(&self) -> Expected {
        match self.record {
            Rec::Absent => Expected::Absent,
            _ => Expected::Version(true),
        }
    }

    /// Whether a request with this payload is on its way to RAM.
    pub(crate) fn is_under_way(&self, payload: Payload) -> bool {
        let sent = self.executors.iter().any(|e| {
            e.payload == payload
                && matches!(
                    e.pc,
                    Pc::Run {
                        slot: Slot::Sent(_),
                        ..
                    }
                )
        });
        sent || self.late[usize::from(payload)].iter().any(|&n| n > 0)
    }

    /// Two minutes pass.
    pub(crate) fn tick(&mut self) {
        self.now += 1;
        for late in &mut self.late {
            late.rotate_right(1);
            late[0] = 0;
        }
        for executor in &mut self.executors {
            if let Pc::Run { slot, .. } = &mut executor.pc
                && let Slot::Sent(age) = *slot
            {
                *slot = if age == SIGNATURE {
                    Slot::Stale
                } else {
                    Slot::Sent(age + 1)
                };
            }
        }
    }

    /// Brings states that differ only in names into one form: executors are alike but for what they do, and a claim
    /// whose executor is gone is nobody's. Returns who was where.
    pub(crate) fn settle(&mut self) -> [usize; MOST] {
        for executor in &mut self.executors {
            if executor.pc == Pc::Gone {
                executor.payload = 0;
            }
        }
        let mut order = [0, 1, 2];
        order.sort_by_key(|&i| (self.executors[i], self.owner() == Some(i)));
        let before = self.executors;
        for (place, &i) in order.iter().enumerate() {
            self.executors[place] = before[i];
        }
        if let Rec::InFlight { owner, .. } = &mut self.record
            && *owner != NOBODY
        {
            let place = order
                .iter()
                .position(|&i| i == usize::from(*owner))
                .expect("it is one of them");
            *owner = if self.executors[place].pc == Pc::Gone {
                NOBODY
            } else {
                u8::try_from(place).expect("there are three")
            };
        }
        order
    }

    fn owner(&self) -> Option<usize> {
        match self.record {
            Rec::InFlight { owner, .. } if owner != NOBODY => Some(usize::from(owner)),
            _ => None,
        }
    }

    /// 128 bits that stand for this state: with 10^8 states the chance that any two share theirs is 1 in 10^22.
    pub(crate) fn digest(&self) -> u128 {
        let half = |seed| {
            let mut mix = Mix(seed);
            self.hash(&mut mix);
            // The finisher of MurmurHash3, so that every bit depends on every other.
            let mut h = mix.0;
            h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            u128::from(h ^ (h >> 33))
        };
        half(0x9e37_79b9_7f4a_7c15) << 64 | half(0xd1b5_4a32_d192_ed03)
    }
}

/// Multiplies and rotates: quick, which `std`'s hasher is not without optimisation.
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n.cast_unsigned() as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x2545_f491_4f6c_dd1d);
        self.0 ^= self.0 >> 29;
    }
}

//! Who waits, in a lane for each caller: first come, first served within a lane, and the lanes take turns.
//!
//! This is deficit round robin (Shreedhar and Varghese, 1995) where every request costs the same: a deficit is never
//! left over, and turns are all there is to count.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use super::Time;

/// Stands for one request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// One request that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ticket: Ticket,
    /// When its answer is of no more use.
    pub(super) deadline: Time,
}

/// See the module. A lane that is empty is not kept.
#[derive(Debug)]
pub struct Lanes<K> {
    lanes: HashMap<K, VecDeque<Place>>,
    /// Whose turn it is, and whose then: every caller with a lane, once.
    turns: VecDeque<K>,
    len: usize,
}

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Lanes<K> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn len_of(&self, caller: &K) -> usize {
        self.lanes.get(caller).map_or(0, VecDeque::len)
    }

    /// How many leave before a request that `caller` adds now, if everybody who waits goes on to ask: in each round that it
    /// takes to come to the new one, every other leaves once.
    pub(super) fn ahead_of(&self, caller: &K) -> usize {
        let own = self.len_of(caller);
        let others = self.lanes.len() - usize::from(own > 0);
        own + others * (own + 1)
    }

    /// Puts a request behind the others of its caller.
    pub(super) fn push_back(&mut self, caller: &K, place: Place) {
        let lane = self.lanes.entry(caller.clone()).or_default();
        if lane.is_empty() {
            self.turns.push_back(caller.clone());
        }
        lane.push_back(place);
        self.len += 1;
    }

    /// Puts a request, whose turn it had been, before the others of its caller.
    pub(super) fn push_front(&mut self, caller: &K, place: Place) {
        let lane = self.lanes.entry(caller.clone()).or_default();
        if lane.is_empty() {
            self.turns.push_front(caller.clone());
        }
        lane.push_front(place);
        self.len += 1;
    }

    /// Takes the request whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Place> {
        let caller = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&caller)?;
        let place = lane.pop_front()?;
        self.len -= 1;
        if lane.is_empty() {
            self.lanes.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        Some(place)
    }

    /// Takes the newest request of the longest lane, to make room for one of `caller`. `None` if no lane is longer than
    /// that caller's own.
    pub(super) fn shed_for(&mut self, caller: &K) -> Option<Ticket> {
        let own = self.len_of(caller);
        let longest = self
            .turns
            .iter()
            .max_by_key(|caller| self.len_of(caller))
            .filter(|longest| self.len_of(longest) > own)?
            .clone();
        let newest = self.lanes.get(&longest)?.back()?.ticket;
        self.remove(newest).then_some(newest)
    }

    /// Takes a request out, wherever it stands. Returns false if it does not wait.
    pub(super) fn remove(&mut self, ticket: Ticket) -> bool {
        let found = self.lanes.iter_mut().find_map(|(caller, lane)| {
            let index = lane.iter().position(|place| place.ticket == ticket)?;
            lane.remove(index);
            Some((caller.clone(), lane.is_empty()))
        });
        let Some((caller, is_empty)) = found else {
            return false;
        };
        self.len -= 1;
        if is_empty {
            self.lanes.remove(&caller);
            self.turns.retain(|of| *of != caller);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(ticket: u64) -> Place {
        Place {
            ticket: Ticket(ticket),
            deadline: Time::MAX,
        }
    }

    fn order(mut lanes: Lanes<char>) -> Vec<u64> {
        std::iter::from_fn(|| lanes.pop())
            .map(|place| place.ticket.0)
            .collect()
    }

    #[test]
    fn callers_take_turns_whatever_they_have_queued() {
        let mut lanes = Lanes::default();
        for ticket in 1..=4 {
            lanes.push_back(&'a', place(ticket));
        }
        lanes.push_back(&'b', place(5));
        lanes.push_back(&'c', place(6));
        lanes.push_back(&'b', place(7));

        assert_eq!(order(lanes), [1, 5, 6, 2, 7, 3, 4]);
    }

    #[test]
    fn what_was_throttled_goes_before_its_callers_others() {
        let mut lanes = Lanes::default();
        lanes.push_back(&'a', place(1));
        lanes.push_back(&'b', place(2));
        lanes.push_front(&'b', place(3));
        lanes.push_front(&'c', place(4));

        assert_eq!(order(lanes), [4, 1, 3, 2]);
    }

    #[test]
    fn the_newest_of_the_longest_lane_makes_room_but_not_for_its_own_caller() {
        let mut lanes = Lanes::default();
        for (caller, ticket) in [('a', 1), ('a', 2), ('a', 3), ('b', 4)] {
            lanes.push_back(&caller, place(ticket));
        }

        assert_eq!(lanes.shed_for(&'a'), None);
        assert_eq!(lanes.shed_for(&'b'), Some(Ticket(3)));
        assert_eq!(order(lanes), [1, 4, 2]);
    }

    #[test]
    fn a_request_that_leaves_its_place_leaves_no_turn_behind() {
        let mut lanes = Lanes::default();
        lanes.push_back(&'a', place(1));
        lanes.push_back(&'b', place(2));

        assert!(lanes.remove(Ticket(1)));
        assert!(!lanes.remove(Ticket(1)));
        assert_eq!((lanes.len(), lanes.turns.len()), (1, 1));
        assert_eq!(order(lanes), [2]);
    }

    #[test]
    fn no_more_leave_first_than_are_said_to_be_ahead() {
        let mut lanes = Lanes::default();
        for (caller, ticket) in [('a', 1), ('a', 2), ('b', 4), ('c', 5), ('c', 7)] {
            lanes.push_back(&caller, place(ticket));
        }

        assert_eq!(lanes.ahead_of(&'d'), 3, "one of each");
        let ahead = lanes.ahead_of(&'b');
        lanes.push_back(&'b', place(6));

        assert!(order(lanes).iter().position(|&t| t == 6).unwrap() <= ahead);
    }

    const CALLERS: u8 = 5;

    proptest! {
        /// Whoever comes, and leaves the queue, when.
        #[test]
        fn no_caller_with_a_backlog_gets_less_than_its_share_by_more_than_one(
            arrivals in prop::collection::vec((0..CALLERS, 0_usize..4, prop::option::of(1_u64..200)), 1..200),
        ) {
            let mut lanes = Lanes::default();
            let mut ticket = 0;
            let mut owner = HashMap::new();
            // Since when each caller has had a backlog, and what each was served since then.
            let mut served_since: HashMap<u8, HashMap<u8, u32>> = HashMap::new();
            for (caller, pops, leaves) in arrivals {
                ticket += 1;
                owner.insert(ticket, caller);
                if lanes.len_of(&caller) == 0 {
                    served_since.insert(caller, HashMap::new());
                }
                lanes.push_back(&caller, place(ticket));
                if let Some(leaves) = leaves {
                    lanes.remove(Ticket(leaves));
                    served_since.retain(|caller, _| lanes.len_of(caller) > 0);
                }
                for _ in 0..pops {
                    let Some(popped) = lanes.pop() else { break };
                    let popped = owner[&popped.ticket.0];
                    for served in served_since.values_mut() {
                        *served.entry(popped).or_default() += 1;
                    }
                    served_since.retain(|caller, _| lanes.len_of(caller) > 0 || *caller == popped);
                    for (caller, served) in &served_since {
                        let own = served.get(caller).copied().unwrap_or_default();
                        let most = served.values().copied().max().unwrap_or_default();
                        prop_assert!(own + 1 >= most, "{caller} got {own} while another got {most}");
                        let all: u32 = served.values().sum();
                        prop_assert!((own + 1) * u32::from(CALLERS) > all, "{caller} got {own} of {all}");
                    }
                    served_since.retain(|caller, _| lanes.len_of(caller) > 0);
                }
                prop_assert_eq!(lanes.turns.len(), lanes.lanes.len());
                prop_assert_eq!(lanes.len(), lanes.lanes.values().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}

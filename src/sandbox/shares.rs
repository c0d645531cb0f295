//! All resource shares of the account, in the order of their creation.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use super::{clock::Moment, share::Share};

/// How long a deleted share stays visible. The RAM User Guide speaks of about two hours.
const DELETED_FOR: Duration = Duration::from_secs(2 * 60 * 60);

/// The shares and the number that the next thing gets.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    by_number: BTreeMap<u64, Share>,
    numbers: HashMap<String, u64>,
    deleted: VecDeque<(Moment, u64)>,
    last_number: u64,
}

impl Shares {
    /// A number that was never given before; shares and associations draw from the same sequence.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    /// Keeps a new share.
    pub(crate) fn insert(&mut self, share: Share, now: Moment) {
        self.forget(now);
        self.numbers.insert(share.arn.clone(), share.number);
        self.by_number.insert(share.number, share);
    }

    /// The share with this ARN, deleted or not.
    pub(crate) fn get(&self, arn: &str) -> Option<&Share> {
        self.by_number.get(self.numbers.get(arn)?)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, arn: &str) -> Option<&mut Share> {
        self.by_number.get_mut(self.numbers.get(arn)?)
    }

    /// Every share, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Share> {
        self.by_number.values()
    }

    /// How many shares are not deleted.
    pub(crate) fn live(&self) -> usize {
        self.by_number.len().saturating_sub(self.deleted.len())
    }

    /// Marks a share deleted and lets its associations go; it stays visible for a while. False if there is none to delete.
    pub(crate) fn delete(&mut self, arn: &str, now: Moment) -> bool {
        let Some(share) = self.get_mut(arn).filter(|share| share.deleted.is_none()) else {
            return false;
        };
        share.delete(now);
        let number = share.number;
        self.deleted.push_back((now, number));
        true
    }

    fn forget(&mut self, now: Moment) {
        while let Some((_, number)) = self
            .deleted
            .pop_front_if(|(then, _)| now.since(*then) >= DELETED_FOR)
        {
            if let Some(share) = self.by_number.remove(&number) {
                self.numbers.remove(&share.arn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_one(arn: &str, now: Moment) -> Shares {
        let mut shares = Shares::default();
        let number = shares.next_number();
        shares.insert(Share::new(number, arn.to_owned(), "name".to_owned(), now), now);
        shares
    }

    #[test]
    fn a_deleted_share_stays_visible_but_does_not_count() {
        let now = Moment::now();
        let mut shares = with_one("arn", now);
        assert_eq!(shares.live(), 1);

        assert!(shares.delete("arn", now));
        assert!(!shares.delete("arn", now), "there is nothing left to delete");
        assert_eq!(shares.live(), 0);
        assert!(shares.get("arn").is_some());
    }

    #[test]
    fn a_deleted_share_is_forgotten_after_two_hours() {
        let now = Moment::now();
        let mut shares = with_one("old", now);
        shares.delete("old", now);

        let number = shares.next_number();
        let later = now.later(DELETED_FOR);
        shares.insert(
            Share::new(number, "new".to_owned(), "name".to_owned(), later),
            later,
        );

        assert!(shares.get("old").is_none());
        assert_eq!((shares.live(), shares.iter().count()), (1, 1));
    }
}

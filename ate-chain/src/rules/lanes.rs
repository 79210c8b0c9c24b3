//! Authors and their lanes: every lane number is used once, and what a lane has seen never goes back.

use crate::error::Reject;
use crate::ids::LaneId;
use crate::state::LANES_MAX;

use super::{Check, invalid};

impl Check<'_> {
    /// Author, lane number and what the author has seen.
    pub(super) fn lane(&mut self) -> Result<(), Reject> {
        let head = &self.commit.head;
        if self.state.keys.get(&head.author).is_none() {
            return Err(Reject::UnknownAuthor {
                author: head.author,
            });
        }
        let is_root =
            head.seen.size <= self.seq && head.seen.root == self.state.root_at(head.seen.size);
        #[cfg(ate_planted)]
        let is_root = is_root || ate_crypto::planted("skip-root-check");
        if !is_root {
            return Err(Reject::Seen);
        }
        if head.number == 0 {
            return Err(invalid("lane numbers start at 1"));
        }
        match self.state.lanes.get(&(head.author, head.lane)) {
            Some(lane) => {
                let is_spent = head.number <= lane.last;
                #[cfg(ate_planted)]
                let is_spent = is_spent && !ate_crypto::planted("take-a-number-twice");
                if is_spent {
                    return Err(Reject::Spent {
                        number: head.number,
                        last: lane.last,
                    });
                }
                if head.seen.size < lane.seen.size {
                    return Err(Reject::Seen);
                }
                if head.after > lane.last {
                    return Err(Reject::After { after: head.after });
                }
            }
            None if head.after != 0 => return Err(Reject::After { after: head.after }),
            None => self.new_lane()?,
        }
        Ok(())
    }

    /// The first commit of a lane: it finds a place in its author's book, the least recently used lane's if there is none left.
    fn new_lane(&mut self) -> Result<(), Reject> {
        let head = &self.commit.head;
        let mut book = self
            .state
            .lane_books
            .get(&head.author)
            .map(|book| (**book).clone())
            .unwrap_or_default();
        if head.seen.size < book.dropped_at {
            return Err(Reject::Seen);
        }
        if book.lanes.len() == LANES_MAX {
            let last_used = |lane: &LaneId| {
                self.state
                    .lanes
                    .get(&(head.author, *lane))
                    .map_or(0, |lane| lane.seq)
            };
            let oldest = (0..book.lanes.len())
                .min_by_key(|&index| last_used(&book.lanes[index]))
                .expect("the book is full");
            self.effects.dropped_lane = Some(book.lanes.remove(oldest));
            book.dropped_at = self.seq;
        }
        // A dropped lane that returns starts anew: no commit of its former life can have seen the drop.
        book.lanes.push(head.lane);
        self.effects.lane_book = Some(book);
        Ok(())
    }
}

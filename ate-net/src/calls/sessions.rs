//! What a server of a service keeps beside its sessions: its announcements, and which openings it took.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ate_chain::ChainId;
use ate_crypto::{CallReceiver, CallSecret, Hash, Identity, KeyId, Random, Who};
use bytes::Bytes;
use parking_lot::Mutex;

use super::announcement::{Announcement, AnnouncementId};
use super::error::FrameError;
use super::frame::{Header, Kind, Parting, SessionId};
use super::limits::{ANNOUNCEMENT_MS_MAX, CallLimits, Now, SKEW_MS_MAX, is_service_name};
use super::opening::{self, Opening};
use super::service_session::{ServiceSession, State};

/// Announcements that hold at one time: the newest, and those before it until they end.
const ANNOUNCEMENTS_MAX: usize = 8;

/// The sessions of one server of one service: opens them, each opening at most once, and keeps their number bounded.
pub struct ServiceSessions {
    identity: Identity,
    chain: ChainId,
    service: String,
    limits: CallLimits,
    state: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    announced: Vec<Arc<Announced>>,
    /// The latest wall time seen: a clock that is set back does not bring openings back to life.
    wall_ms: u64,
    /// Openings that were taken, by the time from which they are too old to be taken.
    taken: BTreeSet<(u64, SessionId)>,
    taken_ids: HashSet<SessionId>,
    sessions: HashMap<SessionId, Arc<ServiceSession>>,
    by_caller: HashMap<KeyId, usize>,
}

struct Announced {
    announcement: Announcement,
    receiver: CallReceiver,
}

/// A session that was opened, and those that gave way to it.
pub struct Accepted {
    /// The new session.
    pub session: Arc<ServiceSession>,
    /// Sessions that are no longer kept, each with what to tell its caller.
    pub evicted: Vec<(SessionId, Bytes)>,
}

/// A session that was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session was not opened: {why}")]
pub struct NotAccepted {
    /// Why.
    pub why: NotAcceptedWhy,
    /// What to tell the caller, if there is something.
    pub answer: Option<Bytes>,
}

/// Why a session was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAcceptedWhy {
    /// The opening cannot be believed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The caller may not call this service.
    #[error("the caller may not call this service")]
    Denied,
    /// There is no room.
    #[error("there is no room for another session")]
    Busy,
}

impl From<FrameError> for NotAccepted {
    fn from(error: FrameError) -> Self {
        Self {
            why: error.into(),
            answer: None,
        }
    }
}

impl ServiceSessions {
    /// A server of `service` on `chain`, which signs as `identity`.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] if no service can have this name.
    pub fn new(
        identity: &Identity,
        chain: ChainId,
        service: &str,
        limits: &CallLimits,
    ) -> Result<Self, FrameError> {
        if !is_service_name(service) {
            return Err(FrameError::Malformed {
                what: "bad name of a service",
            });
        }
        Ok(Self {
            identity: identity.clone(),
            chain,
            service: service.to_owned(),
            limits: *limits,
            state: Mutex::default(),
        })
    }

    /// A fresh announcement, with a key of its own, that holds from now on. The keys of announcements that have ended are forgotten.
    pub fn announce(&self, now: Now, random: &dyn Random) -> (AnnouncementId, Bytes) {
        let mut id = [0; 16];
        random.fill(&mut id);
        let id = AnnouncementId(id);
        let receiver = CallReceiver::generate(random);
        let lifetime_ms = self.limits.announcement_ms.min(ANNOUNCEMENT_MS_MAX);
        let (announcement, bytes) = Announcement::sign(
            &self.identity,
            self.chain,
            &self.service,
            id,
            (now.wall_ms, now.wall_ms.saturating_add(lifetime_ms)),
            &receiver.public(),
        );
        let mut book = self.state.lock();
        book.forget(now.wall_ms);
        if book.announced.len() >= ANNOUNCEMENTS_MAX {
            book.announced.remove(0);
        }
        book.announced.push(Arc::new(Announced {
            announcement,
            receiver,
        }));
        (id, bytes.into())
    }

    /// Takes the first message of a path. What costs little is checked first: shape, place, time, whether it is a repetition, room to remember it,
    /// whether `admit` lets the caller in; then the signature (80 µs) and the encapsulation (55 µs).
    ///
    /// # Errors
    /// [`NotAccepted`]; the caller is told by [`NotAccepted::answer`] where that is safe.
    pub fn accept(
        &self,
        now: Now,
        bytes: &[u8],
        admit: &dyn Fn(&KeyId) -> bool,
    ) -> Result<Accepted, NotAccepted> {
        let opening = Opening::decode(bytes)?;
        let announced = self.announced(&opening, now)?;
        let transcript = opening.transcript(&announced.announcement.digest);
        let decapsulate = || {
            announced
                .receiver
                .decapsulate(opening.ct)
                .map_err(|_| FrameError::Forged)
        };
        let refuse = |why: NotAcceptedWhy, parting| {
            let answer = decapsulate()
                .ok()
                .map(|secret| refusal(opening.session, &secret, &transcript, parting));
            NotAccepted { why, answer }
        };
        // Whether it was taken when it was young is not known any more, so this answer says nothing about that, and its caller claims nothing. An opening
        // from the future gets none: it might be played again when its time has come.
        if opening.opened_at_ms.saturating_add(SKEW_MS_MAX) < self.state.lock().wall_ms {
            return Err(refuse(FrameError::Expired.into(), Parting::Clock));
        }
        // First whether it was taken: nobody may be told of an opening that was that it was not.
        self.state.lock().may_take(&opening, &self.limits)?;
        if !admit(&opening.caller.id()) {
            return Err(refuse(NotAcceptedWhy::Denied, Parting::Denied));
        }
        opening.check(&announced.announcement.digest)?;
        let keys = decapsulate()?.keys(&transcript);
        let lifetime_ms = opening.lifetime_ms.min(self.limits.session_ms);
        let session = Arc::new(ServiceSession {
            id: opening.session,
            caller: opening.caller.clone(),
            keys,
            opened_ticks_ms: now.ticks_ms,
            expires_ticks_ms: now.ticks_ms.saturating_add(u64::from(lifetime_ms)),
            limits: self.limits,
            state: Mutex::new(State::new(now.ticks_ms)),
        });
        let mut book = self.state.lock();
        book.may_take(&opening, &self.limits)?;
        // Also when there is no room: the caller is told that nothing was taken, and will make its calls elsewhere.
        book.remember(&opening);
        let Some(evicted) = book.make_room(&opening.caller, &self.limits) else {
            drop(book);
            return Err(refuse(NotAcceptedWhy::Busy, Parting::Busy));
        };
        book.insert(session.clone());
        Ok(Accepted { session, evicted })
    }

    /// The announcement that an opening answers, if its place and time are right.
    fn announced(&self, opening: &Opening<'_>, now: Now) -> Result<Arc<Announced>, FrameError> {
        if opening.chain != self.chain {
            return Err(FrameError::Elsewhere { what: "chain" });
        }
        if opening.service != self.service {
            return Err(FrameError::Elsewhere { what: "service" });
        }
        if opening.instance != self.identity.id() {
            return Err(FrameError::Elsewhere { what: "instance" });
        }
        let mut book = self.state.lock();
        book.forget(now.wall_ms);
        if opening.opened_at_ms > book.wall_ms.saturating_add(SKEW_MS_MAX) {
            return Err(FrameError::Expired);
        }
        let mut announced = book.announced.iter();
        announced
            .find(|announced| announced.announcement.id == opening.announcement)
            .cloned()
            .ok_or(FrameError::Elsewhere {
                what: "announcement",
            })
    }

    /// Forgets a session whose path has ended.
    pub fn close(&self, session: &SessionId) {
        self.state.lock().remove(session);
    }

    /// Says goodbye in every session.
    pub fn part(&self, why: Parting) -> Vec<(SessionId, Bytes)> {
        let sessions: Vec<_> = self.state.lock().sessions.values().cloned().collect();
        let goodbye = |session: &Arc<ServiceSession>| Some((session.id, session.goodbye(why)?));
        sessions.iter().filter_map(goodbye).collect()
    }

    /// Sessions that are kept.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.state.lock().sessions.len()
    }

    /// Who serves.
    #[must_use]
    pub fn who(&self) -> &Who {
        self.identity.who()
    }
}

impl Book {
    /// Moves time on: what is too old to be used is forgotten.
    fn forget(&mut self, wall_ms: u64) {
        self.wall_ms = self.wall_ms.max(wall_ms);
        let now = self.wall_ms;
        self.announced.retain(|announced| {
            now < announced
                .announcement
                .not_after_ms
                .saturating_add(SKEW_MS_MAX)
        });
        while let Some((until, id)) = self.taken.first().copied() {
            if until >= now {
                break;
            }
            self.taken.pop_first();
            self.taken_ids.remove(&id);
        }
    }

    fn may_take(&self, opening: &Opening<'_>, limits: &CallLimits) -> Result<(), NotAccepted> {
        if self.taken_ids.contains(&opening.session) {
            return Err(FrameError::Replayed.into());
        }
        if self.taken.len() >= limits.openings_max {
            // Nothing may be forgotten that could be repeated, and nothing can be remembered: no answer.
            return Err(NotAccepted {
                why: NotAcceptedWhy::Busy,
                answer: None,
            });
        }
        Ok(())
    }

    /// Lets the least recently used session without open calls go, of this caller if it has too many; `None` if all are busy.
    fn make_room(&mut self, caller: &Who, limits: &CallLimits) -> Option<Vec<(SessionId, Bytes)>> {
        let own = self.by_caller.get(&caller.id()).copied().unwrap_or(0);
        let among_own = own >= limits.caller_sessions_max;
        if !among_own && self.sessions.len() < limits.sessions_max {
            return Some(Vec::new());
        }
        let candidates = self
            .sessions
            .values()
            .filter(|session| !among_own || session.caller.id() == caller.id());
        let idle = candidates.filter_map(|session| match session.use_of() {
            (used, false) => Some((used, session.id)),
            _ => None,
        });
        let (_, id) = idle.min()?;
        let session = self.remove(&id)?;
        let goodbye = session.goodbye(Parting::Evicted);
        Some(goodbye.map(|goodbye| (id, goodbye)).into_iter().collect())
    }

    fn remember(&mut self, opening: &Opening<'_>) {
        let until = opening.opened_at_ms.saturating_add(SKEW_MS_MAX);
        self.taken.insert((until, opening.session));
        self.taken_ids.insert(opening.session);
    }

    fn insert(&mut self, session: Arc<ServiceSession>) {
        *self.by_caller.entry(session.caller.id()).or_default() += 1;
        self.sessions.insert(session.id, session);
    }

    fn remove(&mut self, id: &SessionId) -> Option<Arc<ServiceSession>> {
        let session = self.sessions.remove(id)?;
        let caller = session.caller.id();
        if let Some(count) = self.by_caller.get_mut(&caller) {
            *count -= 1;
            if *count == 0 {
                self.by_caller.remove(&caller);
            }
        }
        Some(session)
    }
}

/// Tells a caller that its session is not opened. Needs no state: the same opening and reason give the same bytes.
fn refusal(session: SessionId, secret: &CallSecret, transcript: &Hash, why: Parting) -> Bytes {
    let keys = secret.keys(&opening::refusal(transcript, why.id()));
    let header = Header {
        kind: Kind::Refused,
        session,
        call: 0,
        numbers: [u32::from(why.id()), 0],
    };
    header.seal(&keys.to_caller, &[])
}

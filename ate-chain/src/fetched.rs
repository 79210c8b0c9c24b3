//! Contents that a replica fetches when they are read, and gives back when it needs the space.

use std::future::poll_fn;
use std::sync::Arc;

use ate_log::{FrameKind, FullSpeed, Least, Location, Span};

use crate::bodies::{BodyPlaces, body_places};
use crate::codec::put_varint;
use crate::commit::Contents;
use crate::error::{EraseError, ReadError};
use crate::flight::{Came, Flight, Flights, Sought, Way};
use crate::ids::{RecordKey, Version};
use crate::local::Local;
use crate::read::CommitInfo;
use crate::replica::{ContentId, FetchError, Replica, Wanted};
use crate::table::{Slot, flag};

/// Contents in one request.
const FETCH_CONTENTS_MAX: usize = 256;
/// Bytes in one request, unless a single content has more.
const FETCH_BYTES_MAX: u64 = 4 << 20;

/// What was given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Contents.
    pub contents: u64,
    /// Bytes of them, sealed.
    pub bytes: u64,
}

/// Reads sealed contents for a peer that asks for several. Those of one commit, asked for one after the other, cost one look at it.
pub struct SealedContents<'a> {
    local: &'a Local,
    last: Option<(CommitInfo, Vec<BodyPlaces>)>,
}

impl Local {
    /// Rows of records so far, tombstones included: the slots below it are those of [`Local::record_at`].
    pub fn row_count(&self) -> Slot {
        self.with_state(|state| state.table.len() as Slot)
    }

    /// The newest content of a record, if it has to be fetched before it can be opened. Memory only.
    pub fn lacks(&self, key: &RecordKey) -> Option<ContentId> {
        let replica = self.replica.get()?;
        let content = self.with_state(|state| {
            let row = state.table.row(state.table.slot(key)?);
            let has_content = row.is(flag::LIVE) && row.is(flag::CONTENT);
            let is_apart = state.commits[row.seq as usize].contents() == Contents::Apart;
            (has_content && is_apart).then(|| ContentId {
                seq: row.seq.into(),
                event: row.event.into(),
            })
        })?;
        (!replica.fetched.lock().contains_key(&content)).then_some(content)
    }

    /// Contents that were fetched and are held.
    pub fn fetched_count(&self) -> usize {
        let replica = self.replica.get();
        replica.map_or(0, |replica| replica.fetched.lock().len())
    }

    /// Bytes of the contents that were fetched and are held, sealed. Linear in their number.
    pub fn fetched_bytes(&self) -> u64 {
        self.replica.get().map_or(0, |replica| {
            let fetched = replica.fetched.lock();
            fetched.values().map(|span| u64::from(span.bytes)).sum()
        })
    }

    /// Asks for contents that are not here, checks them against what was signed, and keeps them. Those that are here already are passed over, those that somebody
    /// else asked for already come with his. Not synced: what is lost in a crash is fetched again.
    ///
    /// # Errors
    /// In the answer: [`ReadError::Elsewhere`] for the first that did not come. All that came are kept; if the upstream could not be reached, no more is asked for.
    ///
    /// # Cost
    /// One request for each 256 contents or 4 MiB, one after the other; of one request all contents are in memory at once. The commits are read back, each once.
    ///
    /// # Cancel safety
    /// What came is kept or not; asking again is safe.
    pub async fn fetch(self: &Arc<Self>, mut wanted: Vec<ContentId>) -> Result<(), ReadError> {
        let Some(replica) = self.replica.get() else {
            return Ok(());
        };
        wanted.sort_unstable();
        wanted.dedup();
        let (mut rest, mut first) = (&wanted[..], None);
        while !rest.is_empty() {
            let (flights, passed) = self.take_off(replica, rest)?;
            for flight in &flights {
                poll_fn(|context| {
                    flight.poll(&replica.flights, context, |sought, came| {
                        self.land(replica, sought, came)
                    })
                })
                .await;
            }
            let (asked, after) = rest.split_at(passed);
            rest = after;
            for content in asked {
                let why = flights.iter().find_map(|flight| flight.failure(content));
                let Some(source) = why else { continue };
                let is_final = matches!(source, FetchError::NotThere | FetchError::Forged);
                let error = ReadError::Elsewhere {
                    content: *content,
                    source,
                };
                if !is_final {
                    return Err(error);
                }
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Asks for the first of `wanted` that are not here: the requests that bring them, and how many of `wanted` they are.
    fn take_off(
        &self,
        replica: &Replica,
        wanted: &[ContentId],
    ) -> Result<(Vec<Arc<Flight>>, usize), ReadError> {
        let (mut sought, mut passed, mut bytes) = (Vec::new(), 0, 0);
        let mut commit: Option<CommitInfo> = None;
        for content in wanted {
            passed += 1;
            if self.is_here(replica, content) {
                continue;
            }
            if commit.as_ref().is_none_or(|info| info.seq != content.seq) {
                commit = Some(self.commit_at(content.seq)?);
            }
            let event = commit
                .as_ref()
                .and_then(|info| info.events.get(content.event as usize));
            let signed = event.and_then(|event| event.content.zip(event.target()));
            // What has no content is nothing to wait for.
            let Some((body, key)) = signed else { continue };
            bytes += u64::from(body.bytes);
            sought.push(Sought {
                wanted: Wanted {
                    content: *content,
                    bytes: body.bytes,
                },
                hash: body.hash,
                key,
            });
            if sought.len() >= FETCH_CONTENTS_MAX || bytes >= FETCH_BYTES_MAX {
                break;
            }
        }
        let mut flights: Vec<Arc<Flight>> = Vec::new();
        let mut known = replica.flights.0.lock();
        sought.retain(|sought| {
            let content = &sought.wanted.content;
            let Some(flight) = Flights::find(&known, content) else {
                // Under the lock: what landed meanwhile was kept before its flight was forgotten.
                return !self.is_here(replica, content);
            };
            if !flights.iter().any(|other| Arc::ptr_eq(other, &flight)) {
                flights.push(flight);
            }
            false
        });
        if sought.is_empty() {
            return Ok((flights, passed));
        }
        let own = Flight::new(sought);
        let mut way = own.way.lock();
        for sought in &own.sought {
            known.insert(sought.wanted.content, Arc::downgrade(&own));
        }
        drop(known);
        let asked = own.sought.iter().map(|sought| sought.wanted).collect();
        *way = Way::Flying(replica.upstream.fetch(asked));
        drop(way);
        flights.push(own);
        Ok((flights, passed))
    }

    /// Whether a content needs no fetching.
    fn is_here(&self, replica: &Replica, content: &ContentId) -> bool {
        let is_apart = self.with_state(|state| {
            let confirmed = content.seq < state.confirmed();
            confirmed && state.commits[content.seq as usize].contents() == Contents::Apart
        });
        !is_apart || replica.fetched.lock().contains_key(content)
    }

    /// Checks what came and keeps it; what did not.
    fn land(
        &self,
        replica: &Replica,
        sought: &[Sought],
        came: Came,
    ) -> Vec<(ContentId, FetchError)> {
        let contents = sought.iter().map(|sought| sought.wanted.content);
        let came = match came {
            Ok(came) => came,
            Err(why) => return contents.map(|content| (content, why.clone())).collect(),
        };
        let mut came = came.into_iter();
        let mut failed = Vec::new();
        for sought in sought {
            let kept = match came.next().flatten() {
                None => Err(FetchError::NotThere),
                Some(bytes) if !sought.is(&bytes) => Err(FetchError::Forged),
                Some(bytes) => self.keep(replica, sought, &bytes),
            };
            failed.extend(kept.err().map(|why| (sought.wanted.content, why)));
        }
        failed
    }

    fn keep(&self, replica: &Replica, sought: &Sought, bytes: &[u8]) -> Result<(), FetchError> {
        let content = sought.wanted.content;
        let mut event = Vec::with_capacity(5);
        put_varint(&mut event, content.event.into());
        // An erasure that comes after finds it, and one that was before is seen.
        let _turn = self.erasing.lock();
        let is_erased = self.with_state(|state| {
            let before = state.erased_before(&sought.key);
            before.is_some_and(|before| content.seq < before)
        });
        if is_erased {
            return Err(FetchError::NotThere);
        }
        let placed = self
            .append_beside(replica, FrameKind::Body, content.seq, 1, &[&event, bytes])
            .map_err(|error| FetchError::NotKept {
                why: error.to_string(),
            })?;
        let span = Span {
            at: placed.part(&[event.len()]),
            bytes: sought.wanted.bytes,
        };
        replica.fetched.lock().insert(content, span);
        Ok(())
    }

    /// Gives fetched contents back for which `goes` says so: the log destroys them, and whoever reads them fetches them again. Schema descriptors stay.
    ///
    /// # Errors
    /// [`EraseError`]. Those that it was to destroy may come back at the next opening.
    ///
    /// # Cost
    /// The commit of each fetched content is read back; the log rewrites what holds them. Blocks, and no erasure is finished meanwhile.
    pub fn drop_fetched(
        &self,
        mut goes: impl FnMut(&RecordKey, ContentId) -> bool,
    ) -> Result<Dropped, EraseError> {
        let Some(replica) = self.replica.get() else {
            return Ok(Dropped::default());
        };
        let _turn = self.erasing.lock();
        let mut held: Vec<ContentId> = replica.fetched.lock().keys().copied().collect();
        held.sort_unstable();
        let mut commit: Option<CommitInfo> = None;
        let mut going = Vec::new();
        for content in held {
            if commit.as_ref().is_none_or(|info| info.seq != content.seq) {
                commit = Some(self.commit_at(content.seq)?);
            }
            let event = commit
                .as_ref()
                .and_then(|info| info.events.get(content.event as usize));
            let Some(key) = event.and_then(|event| event.target()) else {
                continue;
            };
            if !self.is_schema(&key) && goes(&key, content) {
                going.push(content);
            }
        }
        let spans: Vec<Span> = {
            let mut fetched = replica.fetched.lock();
            let gone = going.iter().filter_map(|content| fetched.remove(content));
            gone.collect()
        };
        if !spans.is_empty() {
            self.log.sync()?;
            self.log.erase(&spans, Least::ANY, &mut FullSpeed)?;
        }
        Ok(Dropped {
            contents: spans.len() as u64,
            bytes: spans.iter().map(|span| u64::from(span.bytes)).sum(),
        })
    }

    /// Whether a record is a schema descriptor.
    pub fn is_schema(&self, key: &RecordKey) -> bool {
        self.with_state(|state| {
            let slot = state.table.slot(key);
            slot.is_some_and(|slot| state.table.row(slot).is(flag::DEFINES))
        })
    }

    /// Whether what stood at `at` was a fetched content, which is given back by now.
    pub(crate) fn was_given_back(&self, version: Version, at: Location) -> bool {
        let content = ContentId::of(version);
        let Some(replica) = self.replica.get() else {
            return false;
        };
        let is_apart = self.with_state(|state| {
            let row = state.commits.get(content.seq as usize);
            row.is_some_and(|row| row.contents() == Contents::Apart)
        });
        let mut fetched = replica.fetched.lock();
        if fetched.get(&content).is_some_and(|span| span.at == at) {
            fetched.remove(&content);
        }
        is_apart
    }

    /// The sealed content of an event, for a peer that asks; `None` if it is not here, was erased, or is none.
    ///
    /// # Errors
    /// The log's.
    pub fn sealed_content(&self, content: ContentId) -> Result<Option<Vec<u8>>, ReadError> {
        self.sealed_contents().read(content)
    }

    /// For a peer that asks for several contents.
    #[must_use]
    pub const fn sealed_contents(&self) -> SealedContents<'_> {
        SealedContents {
            local: self,
            last: None,
        }
    }
}

impl Sought {
    /// Whether bytes are what was signed.
    fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.wanted.bytes as usize && ate_crypto::sha256(&[bytes]) == self.hash
    }
}

impl SealedContents<'_> {
    /// As [`Local::sealed_content`].
    ///
    /// # Errors
    /// The log's.
    pub fn read(&mut self, content: ContentId) -> Result<Option<Vec<u8>>, ReadError> {
        let local = self.local;
        if content.seq >= local.position().0 {
            return Ok(None);
        }
        if !matches!(&self.last, Some((info, _)) if info.seq == content.seq) {
            let info = local.commit_at(content.seq)?;
            let row = local.with_state(|state| state.commits[content.seq as usize]);
            let places = body_places(&row, info.events.iter());
            self.last = Some((info, places));
        }
        let Some((info, places)) = &self.last else {
            return Ok(None);
        };
        let event = info.events.get(content.event as usize);
        let Some(signed) = event.and_then(|event| event.content) else {
            return Ok(None);
        };
        let in_frame = places[content.event as usize].content.map(|span| span.at);
        let Some(at) = in_frame.or_else(|| local.fetched(&content)) else {
            return Ok(None);
        };
        let mut bytes = vec![0; signed.bytes as usize];
        match local.log.read_body(at, &mut bytes) {
            Ok(()) if ate_crypto::sha256(&[&bytes]) == signed.hash => Ok(Some(bytes)),
            Ok(()) => Err(ReadError::Damaged {
                at,
                why: "a body does not match its signed hash",
            }),
            Err(ate_log::ReadError::Erased { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

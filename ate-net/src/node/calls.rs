//! Calls at a node: it shows servers to callers and passes on what they say to each other, of which it can read nothing.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::ChainId;
use ate_crypto::Hash;
use bytes::Bytes;

use super::board::{Shown, Way, reach};
use super::left;
use super::serve::{Visit, done};
use crate::calls::{
    ANNOUNCEMENT_BYTES_MAX, Announcement, AnnouncementId, FRAME_BYTES_MAX, Route, streamed,
};
use crate::error::NetError;
use crate::framed::{CONTROL_BYTES_MAX, FrameReader, FrameWriter, HEADER_BYTES};
use crate::host::{Act, Verdict};
use crate::metrics::RequestEnd;
use crate::transport::{ReceiveHalf, SendHalf};
use crate::wire::{Kind, RefusalCode, Reply, Request, decode, encode};

/// Announcements in one message.
const SHOWN_AT_ONCE: usize = 4;
const _: () = assert!(SHOWN_AT_ONCE * (ANNOUNCEMENT_BYTES_MAX + 8) < CONTROL_BYTES_MAX);
/// Read at a time: what a path holds at the node, in each direction.
const READ_BYTES: usize = 64 << 10;

pub(super) async fn announcements(
    visit: &Visit,
    chain: [u8; 32],
    service: &str,
    mut writer: FrameWriter,
) -> Result<RequestEnd, NetError> {
    let chain = ChainId(Hash(chain));
    if let Some(verdict) = refused(visit, chain, Act::Call { chain }).await? {
        return refuse(visit, verdict, writer).await;
    }
    for some in visit
        .shared
        .board
        .shown(chain, service)
        .chunks(SHOWN_AT_ONCE)
    {
        let reply = Reply::Announcements(some.to_vec());
        visit
            .send(&mut writer, Kind::Reply, &encode(&reply))
            .await?;
    }
    done(writer)
}

/// Shows a server until its stream ends.
pub(super) async fn serve(
    visit: &Visit,
    announcement: Bytes,
    mut writer: FrameWriter,
    mut reader: FrameReader,
) -> Result<RequestEnd, NetError> {
    let route = match own_route(visit, &announcement) {
        Ok(route) => route,
        Err(why) => return visit.refuse(writer, RefusalCode::Denied, &why).await,
    };
    let chain = route.chain;
    if let Some(verdict) = refused(visit, chain, Act::Serve { chain }).await? {
        return refuse(visit, verdict, writer).await;
    }
    let Ok(_place) = visit.servers.try_acquire() else {
        let why = "too many servers on one connection";
        return visit.refuse(writer, RefusalCode::Busy, why).await;
    };
    let _stays = match visit.stays() {
        Ok(stays) => stays,
        Err(hit) => return visit.refuse(writer, RefusalCode::Busy, &hit).await,
    };
    let _serves = visit.shared.gate.metrics.call_servers.enter();
    let way = Way::There {
        connection: visit.connection.clone(),
        paths: visit.called.clone(),
    };
    let shown = match visit.shared.board.show(route, announcement, way) {
        Ok(shown) => shown,
        Err(why) => return visit.refuse(writer, RefusalCode::Busy, why).await,
    };
    visit
        .send(&mut writer, Kind::Reply, &encode(&Reply::Ready))
        .await?;
    tokio::select! {
        biased;
        () = left(visit.shared.leaving.clone()) => Ok(RequestEnd::Done),
        renewed = renew(visit, &shown, &mut reader) => match renewed? {
            Some(why) => visit.refuse(writer, RefusalCode::Denied, &why).await,
            None => done(writer),
        },
    }
}

/// Takes newer announcements until the stream ends; why one is refused.
async fn renew(
    visit: &Visit,
    shown: &Shown,
    reader: &mut FrameReader,
) -> Result<Option<String>, NetError> {
    loop {
        let Some((kind, message)) = reader.next(CONTROL_BYTES_MAX).await? else {
            return Ok(None);
        };
        let (Kind::Request, Request::Serve { announcement }) = (kind, decode(&message)?) else {
            return Err(NetError::Protocol {
                what: "a server shows announcements and nothing else",
            });
        };
        let renewed = match own_route(visit, &announcement) {
            Ok(route) => shown.renew(route, announcement).map_err(str::to_owned),
            Err(why) => Err(why),
        };
        if let Err(why) = renewed {
            return Ok(Some(why));
        }
    }
}

/// Where an announcement belongs. Only who signed it may show it: otherwise anybody could have the calls of a server that went away sent to nowhere.
fn own_route(visit: &Visit, announcement: &[u8]) -> Result<Route, String> {
    let route = Announcement::route(announcement).map_err(|error| error.to_string())?;
    if route.who == visit.peer.who.id() {
        Ok(route)
    } else {
        Err("an announcement is shown by the identity that signed it".to_owned())
    }
}

/// Opens a path and passes on until it ends.
pub(super) async fn call(
    visit: &Arc<Visit>,
    (chain, service, to): ([u8; 32], String, [u8; 16]),
    mut writer: FrameWriter,
    reader: FrameReader,
) -> Result<RequestEnd, NetError> {
    let (chain, to) = (ChainId(Hash(chain)), AnnouncementId(to));
    if let Some(verdict) = refused(visit, chain, Act::Call { chain }).await? {
        return refuse(visit, verdict, writer).await;
    }
    let gate = &visit.shared.gate;
    let _path = match gate.limiter.call(visit.id) {
        Ok(path) => path,
        Err(hit) => {
            let why = gate.hit(hit).to_string();
            return visit.refuse(writer, RefusalCode::Busy, &why).await;
        }
    };
    let Ok(place) = visit.paths.clone().try_acquire_owned() else {
        let why = "too many paths on one connection";
        return visit.refuse(writer, RefusalCode::Busy, why).await;
    };
    let ready = encode(&Reply::Ready);
    match visit.shared.board.way(chain, &service, to) {
        None => {
            let why = "the server is gone";
            visit.refuse(writer, RefusalCode::Absent, why).await
        }
        Some(Way::Here(paths)) => {
            let Ok(paths) = paths.try_reserve() else {
                let why = "the server has no room for further paths";
                return visit.refuse(writer, RefusalCode::Busy, why).await;
            };
            visit.send(&mut writer, Kind::Reply, &ready).await?;
            paths.send(streamed(writer, reader, Some(place)));
            Ok(RequestEnd::Done)
        }
        Some(Way::There { connection, paths }) => {
            let (to_server, from_server, _theirs) = match reach(&*connection, &paths, to).await {
                Ok(reached) => reached,
                Err(NetError::Refused { code, why }) => {
                    return visit.refuse(writer, code, &why).await;
                }
                Err(error) => {
                    return visit
                        .refuse(writer, RefusalCode::Absent, &format!("the server: {error}"))
                        .await;
                }
            };
            visit.send(&mut writer, Kind::Reply, &ready).await?;
            let limit = visit.shared.parts.limits.write;
            let _open = visit.shared.gate.metrics.calls_open.enter();
            tokio::select! {
                biased;
                () = left(visit.shared.leaving.clone()) => Ok(RequestEnd::Done),
                passed = both((reader, to_server), (from_server, writer), limit) => passed.map(|()| RequestEnd::Done),
            }
        }
    }
}

/// Why not, if not: the node's rules, or the chain is not to be read by this peer.
async fn refused(visit: &Visit, chain: ChainId, act: Act<'_>) -> Result<Option<Verdict>, NetError> {
    match visit.judge(act) {
        Verdict::Admit if visit.readable(chain).await?.is_some() => Ok(None),
        Verdict::Admit => Ok(Some(Verdict::Deny)),
        verdict => Ok(Some(verdict)),
    }
}

async fn refuse(
    visit: &Visit,
    verdict: Verdict,
    writer: FrameWriter,
) -> Result<RequestEnd, NetError> {
    match verdict {
        Verdict::Busy { why } => visit.refuse(writer, RefusalCode::Busy, &why).await,
        _ => visit.absent(writer).await,
    }
}

/// Passes on both directions, each until its own end; when one fails, both end. After the end of one there is not much that the other could bring.
async fn both(
    forth: (FrameReader, FrameWriter),
    back: (FrameReader, FrameWriter),
    limit: Duration,
) -> Result<(), NetError> {
    let mut forth = std::pin::pin!(pass(forth, limit));
    let mut back = std::pin::pin!(pass(back, limit));
    let other = tokio::select! {
        done = &mut forth => { done?; back }
        done = &mut back => { done?; forth }
    };
    tokio::time::timeout(limit, other).await.unwrap_or(Ok(()))
}

/// Passes bytes on as they come, so that no frame is held here as a whole. A reader that is slower than `limit` is cut off.
async fn pass(
    (reader, writer): (FrameReader, FrameWriter),
    limit: Duration,
) -> Result<(), NetError> {
    let (mut from, mut next): (Box<dyn ReceiveHalf>, Bytes) = reader.into_parts();
    let mut to: Box<dyn SendHalf> = writer.into_half();
    let mut frames = Frames::default();
    loop {
        frames.look(&next)?;
        if !next.is_empty() {
            let written = tokio::time::timeout(limit, to.write(next)).await;
            written.map_err(|_| NetError::TimedOut {
                ms: limit.as_millis() as u64,
            })??;
        }
        next = match from.read(READ_BYTES).await? {
            Some(bytes) => bytes,
            None if frames.is_between() => return Ok(to.finish()?),
            None => {
                return Err(NetError::Protocol {
                    what: "a path that ends within a frame",
                });
            }
        };
    }
}

/// Where frames begin and end in what is passed on.
#[derive(Default)]
struct Frames {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the frame that are still to come.
    left: usize,
}

impl Frames {
    /// Nothing but frames of calls, none too long, may pass.
    fn look(&mut self, mut bytes: &[u8]) -> Result<(), NetError> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let some = self.left.min(bytes.len());
                self.left -= some;
                bytes = bytes.get(some..).unwrap_or_default();
                continue;
            }
            self.header[self.have] = *first;
            self.have += 1;
            bytes = rest;
            if self.have < HEADER_BYTES {
                continue;
            }
            let [a, b, c, d, kind] = self.header;
            self.have = 0;
            self.left = u32::from_le_bytes([a, b, c, d]) as usize;
            if self.left > FRAME_BYTES_MAX {
                return Err(NetError::TooLarge {
                    bytes: self.left as u64,
                    max: FRAME_BYTES_MAX as u64,
                });
            }
            if kind != Kind::Opaque as u8 {
                return Err(NetError::Protocol {
                    what: "on a path there are frames of calls and nothing else",
                });
            }
        }
        Ok(())
    }

    fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{FRAME_BYTES_MAX, Frames, Kind};

    fn frame(kind: Kind, length: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(length).unwrap().to_le_bytes().to_vec();
        bytes.push(kind as u8);
        bytes.resize(5 + length, 7);
        bytes
    }

    #[test]
    fn frames_are_seen_however_the_bytes_are_cut() {
        let whole = [
            frame(Kind::Opaque, 3),
            frame(Kind::Opaque, 0),
            frame(Kind::Opaque, 300),
        ]
        .concat();
        for size in 1..whole.len() {
            let mut frames = Frames::default();
            let mut seen = 0;
            for piece in whole.chunks(size) {
                frames.look(piece).unwrap();
                seen += piece.len();
                assert_eq!(frames.is_between(), [8, 13, whole.len()].contains(&seen));
            }
        }
    }

    #[test]
    fn what_is_no_frame_of_a_call_and_what_is_too_long_does_not_pass() {
        let mut frames = Frames::default();
        assert!(frames.look(&frame(Kind::Refused, 3)).is_err());
        let mut frames = Frames::default();
        assert!(frames.look(&frame(Kind::Opaque, FRAME_BYTES_MAX)).is_ok());
        let too_long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_le_bytes();
        assert!(
            frames
                .look(&[&too_long[..], &[Kind::Opaque as u8]].concat())
                .is_err()
        );
    }
}

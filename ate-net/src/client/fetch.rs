//! Fetching contents from a node: no more than was signed, within a time, again after a break of the way.

use std::time::Duration;

use ate_chain::{FetchError, Wanted};
use tokio::time::{Instant, timeout_at};

use super::remote::Shared;
use crate::error::NetError;
use crate::wire::{Kind, RefusalCode, Request};

/// For the node to be reached, and for the next content to begin to come.
const WITHIN: Duration = Duration::from_secs(10);
/// The slowest way on which a content still comes.
const BYTES_PER_SECOND: u32 = 64 << 10;
/// Pause before the next attempt after a break.
const PAUSE: Duration = Duration::from_millis(50);
/// Contents in one request.
const AT_ONCE: usize = 512;
/// Whether a content is there, before it.
const FLAG_BYTES: usize = 1;
/// Longest refusal that is understood where a short content is expected.
const REFUSAL_BYTES_MAX: usize = 512;

/// Contents in the order in which they are wanted. What came before a break is not asked for again. Each call has a stream of its own, so several go on at once.
///
/// Ends 10 s after the last content came, and for each content the time that its length takes at 64 KiB a second.
pub(super) async fn fetch(
    shared: &Shared,
    wanted: &[Wanted],
) -> Result<Vec<Option<Vec<u8>>>, FetchError> {
    let mut contents = Vec::with_capacity(wanted.len());
    let mut deadline = Instant::now() + WITHIN;
    while contents.len() < wanted.len() {
        let (before, rest) = (contents.len(), &wanted[contents.len()..]);
        let some = &rest[..rest.len().min(AT_ONCE)];
        let Err(error) = ask(shared, some, deadline, &mut contents).await else {
            deadline = Instant::now() + WITHIN;
            continue;
        };
        if contents.len() > before {
            deadline = Instant::now() + WITHIN;
        }
        match error {
            // The node would have sent what nobody signed.
            NetError::TooLarge { .. } => return Err(FetchError::Forged),
            error if is_passing(&error) && Instant::now() + PAUSE < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            NetError::Refused { why, .. } => return Err(FetchError::Refused { why }),
            error => {
                let why = error.to_string();
                return Err(FetchError::Unreachable { why });
            }
        }
    }
    Ok(contents)
}

async fn ask(
    shared: &Shared,
    wanted: &[Wanted],
    deadline: Instant,
    contents: &mut Vec<Option<Vec<u8>>>,
) -> Result<(), NetError> {
    let timed_out = NetError::TimedOut {
        ms: WITHIN.as_millis() as u64,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let session = shared.link.up_within(left).await?;
    let request = Request::Fetch {
        chain: shared.chain.0.0,
        wanted: wanted
            .iter()
            .map(|wanted| (wanted.content.seq, wanted.content.event))
            .collect(),
    };
    let Ok(asked) = timeout_at(deadline, session.request(&request)).await else {
        return Err(timed_out);
    };
    let (mut writer, mut reader) = asked?;
    writer.finish()?;
    for wanted in wanted {
        let time = WITHIN + Duration::from_secs((wanted.bytes / BYTES_PER_SECOND).into());
        // A refusal fits in any case; a content of another length is refused by whoever asked.
        let most = FLAG_BYTES + REFUSAL_BYTES_MAX.max(wanted.bytes as usize);
        let content = reader.expect(Kind::Content, most);
        let Ok(payload) = timeout_at(Instant::now() + time, content).await else {
            return Err(timed_out);
        };
        contents.push(match payload?.split_first() {
            Some((1, sealed)) => Some(sealed.to_vec()),
            Some((0, [])) => None,
            _ => {
                return Err(NetError::Protocol {
                    what: "a content that is neither there nor absent",
                });
            }
        });
    }
    Ok(())
}

/// Whether the next attempt may end otherwise.
const fn is_passing(error: &NetError) -> bool {
    matches!(
        error,
        NetError::Transport(_)
            | NetError::Refused {
                code: RefusalCode::Busy | RefusalCode::Leaving,
                ..
            }
    )
}

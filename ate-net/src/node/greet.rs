//! The first stream of a connection: the peer shows who it is.

use std::sync::Arc;
use std::time::Duration;

use ate_crypto::{Purpose, Signature, Who};

use super::{Shared, code, measure};
use crate::error::NetError;
use crate::framed::framed;
use crate::host::{Act, Peer, Verdict};
use crate::metrics::{ConnectionRefusal, HandshakeEnd};
use crate::transport::Connection;
use crate::wire::{
    Hello, Kind, PROTOCOL_VERSION, RefusalCode, Reply, Request, channel_content, decode, encode,
    hello_version,
};

/// A Hello has 3,201 bytes of identity and 3,373 of signature.
const HELLO_BYTES_MAX: usize = 8 << 10;
/// For a peer that was refused to read why and to go: closing takes back what it has not read.
const PARTING: Duration = Duration::from_secs(1);

/// Who is at the other end, proven for this connection. Any failure closes it.
pub(super) async fn greet(
    shared: &Arc<Shared>,
    connection: &dyn Connection,
) -> Result<Peer, NetError> {
    let limit = shared.parts.limits.hello;
    let begun = tokio::time::Instant::now();
    let greeted = tokio::time::timeout(limit, hello(shared, connection)).await;
    let greeted = greeted.unwrap_or(Err(NetError::TimedOut {
        ms: limit.as_millis() as u64,
    }));
    let metrics = &shared.gate.metrics;
    if let Err(error) = &greeted {
        metrics.handshakes.add(measure::handshake(error), 1);
        let why = match error {
            NetError::Refused { .. } => Some(ConnectionRefusal::Denied),
            NetError::Protocol { .. } | NetError::TooLarge { .. } => {
                Some(ConnectionRefusal::Protocol)
            }
            _ => None,
        };
        if let Some(why) = why {
            metrics.connections_refused.add(why, 1);
        }
        let code = match error {
            NetError::Refused { .. } => {
                drop(tokio::time::timeout(PARTING, connection.closed()).await);
                code::DENIED
            }
            _ => code::PROTOCOL,
        };
        connection.close(code, &error.to_string());
    } else {
        metrics.handshakes.add(HandshakeEnd::Completed, 1);
        let ms = begun.elapsed().as_millis();
        metrics
            .handshake_ms
            .record(u64::try_from(ms).unwrap_or(u64::MAX));
    }
    greeted
}

async fn hello(shared: &Arc<Shared>, connection: &dyn Connection) -> Result<Peer, NetError> {
    let (mut writer, mut reader) = framed(connection.accept().await?);
    let request = reader.expect(Kind::Request, HELLO_BYTES_MAX).await?;
    if hello_version(&request).is_some_and(|version| version != PROTOCOL_VERSION) {
        let (code, why) = (
            RefusalCode::Version,
            format!("this node speaks version {PROTOCOL_VERSION}"),
        );
        writer.refuse(code, &why).await?;
        return Err(NetError::Refused { code, why });
    }
    let Request::Hello(hello) = decode(&request)? else {
        return Err(NetError::Protocol {
            what: "a connection begins with a Hello",
        });
    };
    let who = proven(shared, connection, &hello)?;
    let peer = Peer {
        who,
        address: connection.peer(),
    };
    let (code, why) = match shared.parts.admission.judge(&peer, Act::Connect) {
        Verdict::Admit => {
            connection.admit();
            let welcome = Reply::Welcome {
                version: PROTOCOL_VERSION,
                note_key: shared.note_key.clone().into(),
                now_ms: shared.parts.clock.now_ms(),
            };
            writer.send(Kind::Reply, &encode(&welcome)).await?;
            writer.finish()?;
            return Ok(peer);
        }
        Verdict::Deny => (RefusalCode::Denied, "this identity may not connect".into()),
        Verdict::Busy { why } => (RefusalCode::Busy, why),
    };
    writer.refuse(code, &why).await?;
    Err(NetError::Refused { code, why })
}

/// Lengths first, then the key, then the signature: about 80 µs, once for each connection.
fn proven(shared: &Shared, connection: &dyn Connection, hello: &Hello) -> Result<Who, NetError> {
    let bad = |what| NetError::Protocol { what };
    let signature = Signature::from_slice(&hello.signature).map_err(|_| bad("a signature"))?;
    let who = Who::from_bytes(&hello.who).map_err(|_| bad("an identity"))?;
    let content = channel_content(&connection.binding(), &shared.id.0);
    who.verify(Purpose::Channel, &content, &signature)
        .map_err(|_| bad("the identity did not sign this connection"))?;
    Ok(who)
}

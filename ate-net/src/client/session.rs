//! One authenticated connection to a node.

use std::sync::Arc;
use std::time::Duration;

use ate_crypto::{Identity, Purpose};
use bytes::Bytes;

use super::calls::{self, Doors};
use crate::error::NetError;
use crate::framed::{CONTROL_BYTES_MAX, FrameReader, FrameWriter, framed};
use crate::transport::{Connection, Endpoint, Transport};
use crate::wire::{Hello, Kind, PROTOCOL_VERSION, Reply, Request, channel_content, decode, encode};

/// For a node to answer at all.
const CONNECT: Duration = Duration::from_secs(10);

/// Both sides know who the other is.
pub(crate) struct Session {
    pub(crate) connection: Arc<dyn Connection>,
    /// The node's note key, on its own word, over a channel that only its TLS key can have.
    pub(crate) note_key: Bytes,
    /// Servers of this side, which the node calls.
    pub(super) doors: Arc<Doors>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Session {
    pub(super) async fn connect(
        transport: &dyn Transport,
        identity: &Identity,
        endpoint: &Endpoint,
    ) -> Result<Self, NetError> {
        let connected = tokio::time::timeout(CONNECT, async {
            let connection = transport.connect(endpoint).await?;
            let note_key = greet(&*connection, identity, endpoint).await;
            if let Err(error) = &note_key {
                connection.close(1, &error.to_string());
            }
            let note_key = note_key?;
            let doors = Arc::new(Doors::default());
            let accepting = calls::accept(connection.clone(), doors.clone());
            Ok(Self {
                note_key,
                connection,
                doors,
                accepting: tokio::spawn(accepting),
            })
        });
        connected.await.unwrap_or(Err(NetError::TimedOut {
            ms: CONNECT.as_millis() as u64,
        }))
    }

    /// Opens a stream with a request.
    pub(crate) async fn request(
        &self,
        request: &Request,
    ) -> Result<(FrameWriter, FrameReader), NetError> {
        let (mut writer, reader) = framed(self.connection.open().await?);
        writer.send(Kind::Request, &encode(request)).await?;
        Ok((writer, reader))
    }

    /// A request with one reply.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Reply, NetError> {
        let (mut writer, mut reader) = self.request(request).await?;
        writer.finish()?;
        decode(&reader.expect(Kind::Reply, CONTROL_BYTES_MAX).await?)
    }
}

async fn greet(
    connection: &dyn Connection,
    identity: &Identity,
    endpoint: &Endpoint,
) -> Result<Bytes, NetError> {
    let (mut writer, mut reader) = framed(connection.open().await?);
    let content = channel_content(&connection.binding(), &endpoint.node.0);
    let signature = identity.sign(Purpose::Channel, &content);
    let hello = Request::Hello(Hello {
        version: PROTOCOL_VERSION,
        who: identity.who().to_bytes().into(),
        signature: Bytes::copy_from_slice(signature.as_bytes()),
    });
    writer.send(Kind::Request, &encode(&hello)).await?;
    writer.finish()?;
    match decode(&reader.expect(Kind::Reply, CONTROL_BYTES_MAX).await?)? {
        Reply::Welcome {
            version: PROTOCOL_VERSION,
            note_key,
            ..
        } => Ok(note_key),
        _ => Err(NetError::Protocol {
            what: "a Hello is answered by a Welcome of the same version",
        }),
    }
}

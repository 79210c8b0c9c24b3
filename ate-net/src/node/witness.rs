//! Signing for a chain as a witness: any node that holds it can, whether or not it decides the order.

use std::sync::Arc;

use ate_chain::{Local, Position};

use super::serve::{Visit, done};
use super::{follow, left};
use crate::error::NetError;
use crate::framed::FrameWriter;
use crate::metrics::RequestEnd;
use crate::wire::{Kind, RefusalCode, encode};

pub(super) async fn witness(
    visit: &Visit,
    local: &Arc<Local>,
    position: Position,
    mut writer: FrameWriter,
) -> Result<RequestEnd, NetError> {
    let _stays = match visit.stays() {
        Ok(stays) => stays,
        Err(hit) => return visit.refuse(writer, RefusalCode::Busy, &hit).await,
    };
    let limit = visit.shared.parts.limits.ask;
    tokio::select! {
        biased;
        () = left(visit.shared.leaving.clone()) => {}
        _ = tokio::time::timeout(limit, reaches(local, position)) => {}
    }
    let identity = &visit.shared.parts.identity;
    let signed = visit.work(|| local.testify(identity, position)).await;
    let note = match signed {
        Ok(Some(note)) => note,
        Ok(None) => {
            let why = "the chain is shorter here";
            return visit.refuse(writer, RefusalCode::Behind, why).await;
        }
        Err(error) => {
            let why = error.to_string();
            return visit.refuse(writer, RefusalCode::Failed, &why).await;
        }
    };
    let standing = follow::standing_at(local, position, Some(note));
    visit
        .send(&mut writer, Kind::Standing, &encode(&standing))
        .await?;
    done(writer)
}

async fn reaches(local: &Local, position: Position) {
    let mut at = local.position();
    while at < position {
        match local.past(at).await {
            Some(moved) => at = moved,
            None => return,
        }
    }
}

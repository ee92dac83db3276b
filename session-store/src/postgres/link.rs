//! The connection that is always held: it brings the layout up to date, and hears which turns have to look.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Replica, line::Next, schema, server::Failure};
use crate::Error;

const CHANNEL: &str = "clawdbot_turns";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time to connect; a server that takes the connection may still say nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for everything: a migration may take long.
const PATIENCE: Duration = Duration::from_secs(600);

/// A connection that listens.
pub(super) struct Link {
    /// The connection ends when this is dropped.
    _client: Client,
    listening: JoinHandle<Result<(), tokio_postgres::Error>>,
}

/// Connects, migrates and listens. A failure is in the log already.
pub(super) async fn connect(replica: &Arc<Replica>) -> Result<Link, Error> {
    let connecting = tokio::time::timeout(PATIENCE, try_connect(replica));
    let link = connecting.await.unwrap_or(Err(Failure::Silent)).map_err(|failure| replica.server.no_link(failure))?;
    replica.server.set_ready();
    Ok(link)
}

/// Keeps such a connection until `stop` is cancelled, by making a new one whenever it is lost.
pub(super) async fn hold(replica: Arc<Replica>, mut link: Option<Link>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(mut link) = link.take() {
            pause = FIRST_PAUSE;
            tokio::select! {
                () = stop.cancelled() => return,
                lost = &mut link.listening => {
                    if let Ok(Err(error)) = lost {
                        replica.server.failed(Failure::Driver(error));
                    }
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = stop.cancelled() => return,
            connected = connect(&replica) => match connected {
                Ok(connected) => link = Some(connected),
                Err(error) => tracing::debug!(%error, "still no connection to the session database"),
            },
        }
    }
}

/// Tells another replica that one of its turns has to look. Should that get lost, the turn looks by itself in a while.
pub(super) async fn notify(replica: Arc<Replica>, next: Next) {
    let payload = format!("{}/{}", next.replica, next.place);
    if let Err(error) = replica.server.query("SELECT pg_notify($1, $2)", &[&CHANNEL, &payload]).await {
        tracing::debug!(%error, "the next turn could not be told");
    }
}

async fn try_connect(replica: &Arc<Replica>) -> Result<Link, Failure> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, replica.server.connect());
    let (mut client, mut connection) = connecting.await.map_err(|_| Failure::Silent)??;
    let called = replica.clone();
    let listening = replica.tasks.spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => hear(&called, notification.payload()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    });
    schema::migrate(&mut client).await?;
    client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
    Ok(Link { _client: client, listening })
}

fn hear(replica: &Replica, payload: &str) {
    let Some((id, place)) = payload.split_once('/') else { return };
    if let (Ok(id), Ok(place)) = (id.parse::<Uuid>(), place.parse())
        && replica.id == id
    {
        replica.calls.call(place);
    }
}

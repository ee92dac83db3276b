//! A model provider that costs next to nothing: it says as many tokens as it is asked for, one write each.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const TOKEN: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}"#;
const LAST: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// How it is asked: for so many tokens, and in `seed` for so many milliseconds before each.
#[derive(Deserialize)]
struct Asked {
    #[serde(alias = "max_completion_tokens")]
    max_tokens: usize,
    #[serde(default)]
    seed: u64,
}

/// Starts it on a free port of this machine.
pub(super) async fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            // A client that hangs up is no error here.
            tokio::spawn(async move { serve(connection).await.ok() });
        }
    });
    Ok(address)
}

async fn serve(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let token = chunk(TOKEN);
    let end = [chunk(LAST), chunk("data: [DONE]"), "0\r\n\r\n".to_owned()].concat();
    let mut unread = Vec::new();
    while let Some(asked) = request(&mut connection, &mut unread).await? {
        connection.write_all(HEAD).await?;
        for _ in 0..asked.max_tokens {
            if asked.seed > 0 {
                tokio::time::sleep(Duration::from_millis(asked.seed)).await;
            }
            connection.write_all(token.as_bytes()).await?;
        }
        connection.write_all(end.as_bytes()).await?;
    }
    Ok(())
}

fn chunk(event: &str) -> String {
    format!("{:x}\r\n{event}\n\n\r\n", event.len() + 2)
}

/// Reads the next request, whose length must be given.
async fn request(connection: &mut TcpStream, unread: &mut Vec<u8>) -> std::io::Result<Option<Asked>> {
    loop {
        if let Some(head) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&unread[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or_default();
            let body = head + 4..head + 4 + length;
            if unread.len() >= body.end {
                let asked = serde_json::from_slice(&unread[body.clone()])?;
                unread.drain(..body.end);
                return Ok(Some(asked));
            }
        }
        if connection.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
}

//! A provider of our own: an HTTP server that keeps what it is asked and answers as it is told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the provider does with one request.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: String,
    /// Each is sent on its own.
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) end: End,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// The connection breaks.
    Broken,
    /// Nothing more comes, and nothing ends.
    Silent,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) connection: usize,
    /// The request line and the headers, in lower case but for the line.
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) struct Stub {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Reply {
    pub(super) fn whole(text: &str) -> Self {
        Self { status: 200, headers: String::new(), chunks: vec![text.into()], end: End::Whole }
    }

    pub(super) fn refusal(status: u16, headers: &str, body: &str) -> Self {
        Self { status, headers: headers.to_owned(), ..Self::whole(body) }
    }

    /// The same, a byte at a time.
    pub(super) fn dripping(text: &str) -> Self {
        Self { chunks: text.bytes().map(|byte| vec![byte]).collect(), ..Self::whole(text) }
    }

    pub(super) fn ending(text: &str, end: End) -> Self {
        Self { end, ..Self::whole(text) }
    }
}

impl Stub {
    /// Answers with one reply after another; the last one again and again.
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, connection, Arc::clone(&log), Arc::clone(&replies)));
            }
        });
        Self { address, asked }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    log: Arc<Mutex<Vec<Asked>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    loop {
        let asked = read(&mut stream, connection).await?;
        log.lock().expect("nobody panicked").push(asked);
        let reply = {
            let mut replies = replies.lock().expect("nobody panicked");
            if replies.len() > 1 { replies.pop_front()? } else { replies.front()?.clone() }
        };
        let has_kind = reply.headers.contains("content-type");
        let kind = if has_kind { "" } else { "content-type: text/event-stream\r\n" };
        let head = format!("HTTP/1.1 {} x\r\n{kind}transfer-encoding: chunked\r\n{}\r\n", reply.status, reply.headers);
        stream.write_all(head.as_bytes()).await.ok()?;
        for chunk in &reply.chunks {
            let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            stream.write_all(&framed).await.ok()?;
        }
        match reply.end {
            End::Whole => stream.write_all(b"0\r\n\r\n").await.ok()?,
            End::Broken => return None,
            End::Silent => {
                // Ends when the client hangs up.
                stream.read_to_end(&mut Vec::new()).await.ok()?;
                return None;
            }
        }
    }
}

async fn read(stream: &mut TcpStream, connection: usize) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    while bytes.len() < head_end + length.unwrap_or(0) {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some(Asked { connection, head, body: String::from_utf8(bytes[head_end..].to_vec()).ok()? })
}

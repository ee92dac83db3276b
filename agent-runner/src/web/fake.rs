//! A public server for tests, on an address of this machine that counts as public, beside a private one.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use super::{Reach, address::is_public, reach::Addresses};

/// The loopback address that the tests take for a public one. The others stay what they are.
pub(crate) const PUBLIC: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub(crate) const PRIVATE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A server at the public and the private address, on the same port.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// How many requests came to the private address.
    private: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What the server sends for a path: as it stands, and whether it then keeps the connection without a word.
pub(crate) type Answer = fn(&str, u16) -> (Vec<u8>, bool);

impl Server {
    pub(crate) async fn start(answer: Answer) -> Self {
        let (public, private) = loop {
            let public = TcpListener::bind((PUBLIC, 0)).await.expect("binds");
            let port = public.local_addr().expect("is bound").port();
            if let Ok(private) = TcpListener::bind((PRIVATE, port)).await {
                break (public, private);
            }
        };
        let port = public.local_addr().expect("is bound").port();
        let count = Arc::new(AtomicUsize::new(0));
        let tasks = vec![
            tokio::spawn(serve(public, port, answer, Arc::default())),
            tokio::spawn(serve(private, port, answer, count.clone())),
        ];
        Self { port, private: count, tasks }
    }

    /// A URL by a name that the tests' resolver knows.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://example.com:{}{path}", self.port)
    }

    pub(crate) fn assert_private_was_left_alone(&self) {
        assert_eq!(self.private.load(Ordering::SeqCst), 0);
    }
}

async fn serve(listener: TcpListener, port: u16, answer: Answer, count: Arc<AtomicUsize>) {
    let mut kept = Vec::new();
    loop {
        let (mut connection, _) = listener.accept().await.expect("accepts");
        count.fetch_add(1, Ordering::SeqCst);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
                break;
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (bytes, is_kept) = answer(path, port);
        // The client may have had enough before everything is written.
        let _ = connection.write_all(&bytes).await;
        if is_kept {
            kept.push(connection);
        }
    }
}

pub(crate) fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> (Vec<u8>, bool) {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n");
    ([head.as_bytes(), body.as_ref()].concat(), false)
}

pub(crate) fn redirect_to(location: &str) -> (Vec<u8>, bool) {
    response("302 Found", &format!("location: {location}\r\n"), "")
}

/// Reaches what is public by a resolver that gives these answers, one after the other, and then fails.
pub(crate) fn reach(answers: &[&[IpAddr]]) -> Reach {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answers: VecDeque<Vec<IpAddr>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let answers = Mutex::new(answers);
    let lookup = move |_: &str| -> Addresses {
        let answer = answers.lock().expect("is not poisoned").pop_front();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("asked once too often")) })
    };
    let is_allowed = |ip: IpAddr| ip == PUBLIC || is_public(ip);
    Reach { lookup: Arc::new(lookup), is_allowed }
}

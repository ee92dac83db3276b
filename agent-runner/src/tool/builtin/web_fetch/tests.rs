use std::net::{IpAddr, SocketAddr};

use async_compression::tokio::write::GzipEncoder;
use shared::config::documented_default;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::web::{
    MAX_URL_BYTES,
    fake::{PRIVATE, PUBLIC, Server, reach, redirect_to, response},
};

fn text(body: &str) -> (Vec<u8>, bool) {
    response("200 OK", "content-type: text/plain\r\n", body)
}

/// A tool whose resolver gives these answers, one after the other, and then fails.
fn fetcher(settings: Settings, answers: &[&[IpAddr]]) -> WebFetch {
    WebFetch::with(settings, reach(answers))
}

/// A tool for which every name is the public address.
fn public(settings: Settings) -> WebFetch {
    fetcher(settings, &[&[IpAddr::V4(PUBLIC)][..]; 20])
}

async fn fetch(tool: &WebFetch, url: &str) -> Result<String, String> {
    let arguments = Arguments { url: url.to_owned(), max_chars: None };
    tool.run(arguments, &crate::tool::builtin::tests::run_facts()).await.map_err(|Error(error)| error)
}

/// What stands between the marks, below the address.
fn content(told: &str) -> &str {
    let (_, rest) = told.split_once(">>>\n").expect("has a mark");
    let content = rest.rsplit_once("\n<<<").expect("has a mark").0;
    if content.starts_with("url: ") { content.split_once('\n').expect("has a line").1 } else { content }
}

#[tokio::test]
async fn a_page_is_fetched_and_marked_as_not_to_be_trusted() {
    let server = Server::start(|path, _| match path {
        "/old" => redirect_to("/new?a#b"),
        "/new?a" => response("200 OK", "content-type: text/html\r\n", "<title>Tea</title><p>green <i>tea</i>"),
        path => text(path),
    })
    .await;
    let told = fetch(&public(Settings::default()), &server.url("/old")).await.expect("is fetched");
    assert!(told.starts_with("status: 200\nWhat stands between"), "{told}");
    assert!(told.contains("comes from example.com and is not to be trusted"), "{told}");
    assert!(told.contains(&format!(">>>\nurl: {}\ntitle: ", server.url("/new?a"))), "{told}");
    assert_eq!(content(&told), "title: Tea\ngreen tea");
    server.assert_private_was_left_alone();
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_in_every_form() {
    let server = Server::start(|path, _| text(path)).await;
    let tool = public(Settings::default());
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "0",
        "[::]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.100.100.200",
    ] {
        let error = fetch(&tool, &format!("http://{host}:{}/", server.port)).await.expect_err(host);
        assert!(error.contains("is not on the public internet"), "{host}: {error}");
    }
    server.assert_private_was_left_alone();
}

#[tokio::test]
async fn names_that_stand_for_addresses_that_are_not_public_are_refused() {
    let server = Server::start(|path, _| text(path)).await;
    let metadata: IpAddr = [169, 254, 169, 254].into();
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("is an address");
    let tool = fetcher(Settings::default(), &[&[metadata], &[mapped, PRIVATE.into()], &[]]);
    for name in ["metadata.google.internal", "example.com", "nowhere.example.com"] {
        let error = fetch(&tool, &format!("http://{name}:{}/", server.port)).await.expect_err(name);
        assert!(error.contains("is not on the public internet"), "{name}: {error}");
    }
    // Of this name, the system's own resolver knows.
    let tool = WebFetch::with(Settings::default(), Reach::public());
    let error = fetch(&tool, &format!("http://localhost:{}/", server.port)).await.expect_err("is this machine");
    assert!(error.contains("is not on the public internet"), "{error}");
    server.assert_private_was_left_alone();
}

#[tokio::test]
async fn of_several_addresses_only_public_ones_are_used() {
    let server = Server::start(|path, _| text(path)).await;
    let tool = fetcher(Settings::default(), &[&[PRIVATE.into(), PUBLIC.into()]]);
    assert_eq!(content(&fetch(&tool, &server.url("/a")).await.expect("is fetched")), "/a");
    server.assert_private_was_left_alone();
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_checked_each_time_it_is_looked_up() {
    let server = Server::start(|path, _| match path {
        "/a" => redirect_to("/b"),
        path => text(path),
    })
    .await;
    let tool =
        fetcher(Settings::default(), &[&[PUBLIC.into()], &[PRIVATE.into()], &[PUBLIC.into()], &[PRIVATE.into()]]);
    let error = fetch(&tool, &server.url("/a")).await.expect_err("leads to this machine");
    assert!(error.contains("/b` is not on the public internet"), "{error}");
    // One request needs one lookup: what was checked is what is connected to.
    assert_eq!(content(&fetch(&tool, &server.url("/c")).await.expect("is fetched")), "/c");
    server.assert_private_was_left_alone();
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_could_not_be_asked_for() {
    let server = Server::start(|path, port| match path {
        "/loopback" => redirect_to(&format!("http://127.0.0.1:{port}/")),
        "/decimal" => redirect_to(&format!("//2130706433:{port}/")),
        "/metadata" => redirect_to("http://169.254.169.254/latest/meta-data/"),
        "/file" => redirect_to("file:///etc/passwd"),
        "/user" => redirect_to(&format!("http://alice:pw@example.com:{port}/")),
        "/again" => redirect_to("/again"),
        path => text(path),
    })
    .await;
    let tool = public(Settings::default());
    let check = async |path: &str, expected: &str| {
        let error = fetch(&tool, &server.url(path)).await.expect_err(path);
        assert!(error.contains(expected), "{path}: {error}");
    };
    check("/loopback", "is not on the public internet").await;
    check("/decimal", "is not on the public internet").await;
    check("/metadata", "is not on the public internet").await;
    check("/file", "not `file`").await;
    check("/user", "user name or password").await;
    check("/again", "tools.web.fetch.maxRedirects").await;
    server.assert_private_was_left_alone();

    let from = "https://example.com/".parse().expect("is a URL");
    let error = tool.web.reach.check("http://example.com/", Some(&from)).expect_err("is a downgrade");
    assert!(error.to_string().contains("from https to http"), "{error}");
    for url in
        ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "http://alice@example.com/", "a", ""]
    {
        fetch(&tool, url).await.expect_err(url);
    }
    fetch(&tool, &server.url(&"/a".repeat(MAX_URL_BYTES))).await.expect_err("is too long");
}

#[tokio::test]
async fn a_page_that_is_too_large_is_read_to_the_limit() {
    let server = Server::start(|_, _| text(&"x".repeat(100_000))).await;
    let bytes = public(Settings { max_response_bytes: 1000, ..Settings::default() });
    let told = fetch(&bytes, &server.url("/")).await.expect("is fetched");
    let expected =
        format!("{}\n[the page is longer than is read (`tools.web.fetch.maxResponseBytes`)]", "x".repeat(1000));
    assert_eq!(content(&told), expected);
    let chars = public(Settings { max_chars: 10, ..Settings::default() });
    let told = fetch(&chars, &server.url("/")).await.expect("is fetched");
    assert_eq!(content(&told), format!("{}\n[the text is longer and cut here]", "x".repeat(10)));
}

#[tokio::test]
async fn a_page_that_unpacks_without_end_is_read_to_the_limit() {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(&vec![b'x'; 20_000_000]).await.expect("packs");
    encoder.shutdown().await.expect("packs");
    let packed = encoder.into_inner();
    let listener = TcpListener::bind((PUBLIC, 0)).await.expect("binds");
    let address: SocketAddr = listener.local_addr().expect("is bound");
    let server = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("accepts");
        connection.read_buf(&mut Vec::new()).await.expect("reads");
        let (bytes, _) = response("200 OK", "content-type: text/plain\r\ncontent-encoding: gzip\r\n", packed);
        let _ = connection.write_all(&bytes).await;
    });
    let tool = public(Settings { max_response_bytes: 1000, ..Settings::default() });
    let told = fetch(&tool, &format!("http://{address}/")).await.expect("is fetched");
    assert!(content(&told).starts_with(&"x".repeat(1000)) && told.len() < 2000, "{}", told.len());
    server.await.expect("ends");
}

#[tokio::test]
async fn a_page_that_does_not_come_is_given_up() {
    let server = Server::start(|path, _| match path {
        "/silent" => (Vec::new(), true),
        _ => (text("begun").0, true),
    })
    .await;
    let tool = public(Settings { timeout_seconds: 1, ..Settings::default() });
    for path in ["/silent", "/slow"] {
        assert_eq!(fetch(&tool, &server.url(path)).await.expect_err("is slow"), "the page took more than 1 s");
    }
}

#[tokio::test]
async fn what_is_no_text_or_no_success_is_refused_and_says_why() {
    let server = Server::start(|path, _| match path {
        "/image" => response("200 OK", "content-type: image/png\r\n", "x"),
        "/brotli" => response("200 OK", "content-type: text/plain\r\ncontent-encoding: br\r\n", "x"),
        "/missing" => response("404 Not Found", "content-type: text/html\r\n", "<h1>Nothing here</h1>"),
        _ => (Vec::new(), false),
    })
    .await;
    let tool = public(Settings::default());
    let check = async |path: &str, expected: &[&str]| {
        let error = fetch(&tool, &server.url(path)).await.expect_err(path);
        assert!(expected.iter().all(|expected| error.contains(expected)), "{path}: {error}");
    };
    check("/image", &["image/png"]).await;
    check("/brotli", &["not asked for"]).await;
    check("/missing", &["404", "not to be trusted", "# Nothing here"]).await;
    check("/broken", &["did not answer as HTTP has it"]).await;
}

#[tokio::test]
async fn what_is_returned_of_a_page_reaches_the_model_whole() {
    let long = "/a".repeat(1900);
    let server = Server::start(|_, _| text(&"x".repeat(100_000))).await;
    let told = fetch(&public(Settings::default()), &server.url(&long)).await.expect("is fetched");
    let most: usize =
        documented_default("agents.defaults.toolOutputMaxChars").expect("is one").parse().expect("a number");
    assert!((40_000..=most).contains(&told.len()), "{} > {most}", told.len());
}

#[tokio::test]
async fn a_limit_may_be_as_large_as_it_can_be() {
    let server = Server::start(|path, _| text(path)).await;
    let tool = public(Settings { max_response_bytes: usize::MAX, max_chars: usize::MAX, ..Settings::default() });
    assert_eq!(content(&fetch(&tool, &server.url("/a")).await.expect("is fetched")), "/a");
}

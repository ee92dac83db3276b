use std::net::IpAddr;

use proto::session::v1::Role;
use serde_json::json;

use super::*;
use crate::{
    config::Provided,
    model::{EventStream, Model, Profile, Request},
    web::fake::{PUBLIC, Server, reach, redirect_to, response},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

fn png() -> String {
    data_url(MediaType::Png, PNG)
}

fn settings(settings: serde_json::Value) -> Settings {
    serde_json::from_value(settings).expect("are settings")
}

fn said(role: Role, urls: &[&str], place: &str) -> Message {
    let image = |(index, url): (usize, &&str)| {
        let path = if place.is_empty() { String::new() } else { format!("{place}[{index}]") };
        Part { kind: Some(Kind::Image(Image { url: (*url).to_owned(), path, ..Image::default() })) }
    };
    Message { role: role.into(), parts: urls.iter().enumerate().map(image).collect(), ..Message::default() }
}

/// What is seen of the pictures of an earlier transcript, of the history and of the input, each a user's message.
async fn seen(images: &Images, urls: [&[&str]; 3]) -> Result<Vec<String>, String> {
    let [kept, history, input] = urls;
    let transcript = [said(Role::User, kept, "")];
    let mut new = [said(Role::User, history, "history"), said(Role::User, input, "input")];
    let gallery = images.gallery(&transcript, &mut new, 1).await.map_err(|error| error.to_string())?;
    let mut prompt = [&transcript[..], &new].concat();
    gallery.hang(&mut prompt);
    let shown = prompt.into_iter().flat_map(|message| message.parts).map(|part| match part.kind {
        Some(Kind::Image(Image { url, path, .. })) => {
            assert_eq!(path, "");
            url
        }
        Some(Kind::Text(text)) => text,
        other => panic!("{other:?}"),
    });
    Ok(shown.collect())
}

async fn check(images: &Images, url: &str, expected: Result<&str, &str>) {
    let expected =
        expected.map(|shown| vec![shown.to_owned()]).map_err(|reason| format!("invalid `input[0]`: {reason}"));
    assert_eq!(seen(images, [&[], &[], &[url]]).await, expected, "{url}");
}

#[tokio::test]
async fn a_data_url_is_what_its_bytes_are() {
    let images = Images::new(Settings::default());
    let png = png();
    let base64 = BASE64.encode(PNG);
    check(&images, &png, Ok(&png)).await;
    for url in [
        format!("data:image/jpeg;base64,{base64}"),
        format!("DATA:image/png;base64,{base64}"),
        format!("data:image/png;name=a.png;base64,{base64}"),
        format!("data:;base64,{base64}"),
        format!("data:image/png;base64,{}", base64.trim_end_matches('=')),
    ] {
        check(&images, &url, Ok(&png)).await;
    }
    let all = "it is none of image/jpeg, image/png, image/gif, image/webp, image/heic, image/heif";
    check(&images, "data:image/png;base64,QUJD", Err(all)).await;
    check(&images, "data:image/png;base64,", Err(all)).await;
    for url in ["data:image/png,abc", "data:image/png;base64", "data:image/png;base64,$$$$"] {
        check(&images, url, Err("the `data:` URL is not valid base64")).await;
    }
    for url in ["", "abc", "file:///etc/passwd", "ftp://example.com/a.png"] {
        check(&images, url, Err("expected a `data:` or http(s) URL")).await;
    }
    let gifs = Images::new(settings(json!({"images": {"allowedMimes": ["image/gif"]}})));
    check(&gifs, &png, Err("it is none of image/gif")).await;
}

#[tokio::test]
async fn pictures_are_not_too_large_and_not_too_many() {
    let of = |name: &str, value: usize| Images::new(settings(json!({name: value})));
    let png = png();
    let small = |bytes: usize| Images::new(settings(json!({"images": {"maxBytes": bytes}})));
    check(&small(PNG.len()), &png, Ok(&png)).await;
    let reason = "it has more than 11 bytes (`gateway.http.endpoints.chatCompletions.images.maxBytes`)";
    check(&small(11), &png, Err(reason)).await;
    let large = data_url(MediaType::Png, &[PNG, &[0; 1000]].concat());
    check(&small(11), &large, Err(reason)).await;

    let input = [png.as_str(); 3];
    let refused = seen(&of("maxImageParts", 2), [&[], &[], &input]).await;
    let reason = "there are more than 2 images (`gateway.http.endpoints.chatCompletions.maxImageParts`)";
    assert_eq!(refused, Err(format!("invalid `input[2]`: {reason}")));
    let refused = seen(&of("maxTotalImageBytes", 2 * PNG.len()), [&[], &[], &input]).await;
    let setting = "gateway.http.endpoints.chatCompletions.maxTotalImageBytes";
    let reason = format!("together the images have more than 24 bytes (`{setting}`)");
    assert_eq!(refused, Err(format!("invalid `input[2]`: {reason}")));
}

/// A client that sends its history again would else be refused once that has too many.
#[tokio::test]
async fn of_what_was_shown_before_the_newest_are_shown_again() {
    let picture = |name: &u8| data_url(MediaType::Png, &[PNG, &[*name]].concat());
    let check = async |settings_json: serde_json::Value, shown_before: [&[u8]; 3], expected: &[u8]| {
        let urls = shown_before.map(|names| names.iter().map(picture).collect::<Vec<_>>());
        let urls: [Vec<&str>; 3] = urls.each_ref().map(|urls| urls.iter().map(String::as_str).collect());
        let images = Images::new(settings(settings_json));
        let shown = seen(&images, urls.each_ref().map(Vec::as_slice)).await.expect("are shown");
        let expected = expected.iter().map(|name| if *name == b'-' { NOTE.to_owned() } else { picture(name) });
        assert_eq!(shown, expected.collect::<Vec<_>>());
    };
    check(json!({"maxImageParts": 3}), [b"a", b"bcd", b"e"], b"--cde").await;
    check(json!({"maxImageParts": 3}), [b"abc", b"", b"e"], b"-bce").await;
    check(json!({"maxImageParts": 3}), [b"a", b"aa", b"a"], b"-aaa").await;
    check(json!({"maxTotalImageBytes": 3 * (PNG.len() + 1)}), [b"a", b"bcd", b"e"], b"--cde").await;
}

#[tokio::test]
async fn a_picture_of_an_earlier_turn_is_no_reason_to_refuse_a_request() {
    let png = png();
    let images = Images::new(Settings::default());
    let kept = ["https://example.com/a.png", "data:image/png;base64,QUJD", &png];
    let shown = seen(&images, [&kept, &[], &[]]).await.expect("are shown");
    assert_eq!(shown, [NOTE, NOTE, &png]);
    let shown = seen(&images, [&[], &kept, &[&png]]).await.expect("are shown");
    assert_eq!(shown, [NOTE, NOTE, &png, &png]);
}

/// Pictures that are fetched from a server on which every name is the public address.
fn fetching(settings_json: serde_json::Value) -> Images {
    let mut settings = settings(settings_json);
    settings.images.allow_url = true;
    let reach = reach(&[&[IpAddr::V4(PUBLIC)][..]; 20]);
    Images { fetcher: Fetcher::with(&settings, reach), settings }
}

async fn server() -> Server {
    Server::start(|path, port| match path {
        "/a.png" => response("200 OK", "content-type: text/html\r\n", PNG),
        "/moved" => redirect_to("/a.png"),
        "/again" => redirect_to("/again"),
        "/loopback" => redirect_to(&format!("http://127.0.0.1:{port}/a.png")),
        "/elsewhere" => redirect_to(&format!("http://example.net:{port}/a.png")),
        "/large" => response("200 OK", "", [PNG, &[0; 1000]].concat()),
        "/said-to-be-large" => response("200 OK", "content-length: 1000000\r\n", PNG),
        "/packed" => response("200 OK", "content-encoding: gzip\r\n", PNG),
        "/page" => response("200 OK", "content-type: image/png\r\n", "<html>"),
        "/silent" => (Vec::new(), true),
        _ => response("404 Not Found", "", ""),
    })
    .await
}

#[tokio::test]
async fn a_picture_that_is_named_is_fetched_when_that_is_allowed() {
    let server = server().await;
    let png = png();
    for path in ["/a.png", "/moved"] {
        check(&fetching(json!({})), &server.url(path), Ok(&png)).await;
    }
    let reason = "images are taken as `data:` URLs; `gateway.http.endpoints.chatCompletions.images.allowUrl` turns on \
                  that others are fetched";
    check(&Images::new(Settings::default()), &server.url("/a.png"), Err(reason)).await;
    server.assert_private_was_left_alone();
}

#[tokio::test]
async fn what_cannot_be_fetched_says_why_and_names_no_address() {
    let server = server().await;
    let setting = |name: &str| format!("(`gateway.http.endpoints.chatCompletions.images.{name}`)");
    let images = fetching(json!({"images": {"maxBytes": 100}}));
    let fails = async |images: &Images, url: &str, expected: &str| {
        let expected = format!("it cannot be fetched: {expected}");
        check(images, url, Err(&expected)).await;
    };
    fails(&images, &server.url("/missing"), "its server answered with status 404").await;
    fails(&images, &server.url("/packed"), "its server packed it in a way that was not asked for").await;
    fails(&images, &server.url("/again"), &format!("it has too many redirects {}", setting("maxRedirects"))).await;
    let too_large = format!("it has more than 100 bytes {}", setting("maxBytes"));
    check(&images, &server.url("/large"), Err(&too_large)).await;
    check(&images, &server.url("/said-to-be-large"), Err(&too_large)).await;
    let all = "it is none of image/jpeg, image/png, image/gif, image/webp, image/heic, image/heif";
    check(&images, &server.url("/page"), Err(all)).await;
    let hasty = fetching(json!({"images": {"timeoutMs": 1}}));
    let silent = format!("it did not come within 1 ms {}", setting("timeoutMs"));
    fails(&hasty, &server.url("/silent"), &silent).await;

    let private = "it is not on the public internet";
    for url in [server.url("/loopback"), format!("http://127.0.0.1:{}/a.png", server.port)] {
        fails(&images, &url, private).await;
    }
    for url in ["http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://2130706433/"] {
        fails(&images, url, private).await;
    }
    server.assert_private_was_left_alone();
}

#[tokio::test]
async fn hosts_that_are_not_listed_are_not_asked_over_redirects_either() {
    let server = server().await;
    let images = fetching(json!({"images": {"urlAllowlist": ["example.com"]}}));
    check(&images, &server.url("/moved"), Ok(&png())).await;
    let reason = "it cannot be fetched: its host is not one of \
                  `gateway.http.endpoints.chatCompletions.images.urlAllowlist`";
    check(&images, &server.url("/elsewhere"), Err(reason)).await;
    check(&images, &format!("http://example.net:{}/a.png", server.port), Err(reason)).await;
}

#[tokio::test]
async fn what_is_fetched_counts_towards_all() {
    let server = server().await;
    let images = fetching(json!({"maxTotalImageBytes": PNG.len()}));
    let (named, png) = (server.url("/a.png"), png());
    let refused = seen(&images, [&[], &[], &[&png, &named]]).await.expect_err("are too many bytes");
    assert!(refused.starts_with("invalid `input[1]`: together the images have more than 12 bytes"), "{refused}");
}

struct Never;

impl Model for Never {
    fn stream(&self, _: &Request) -> EventStream {
        Box::pin(futures_util::stream::empty())
    }
}

#[test]
fn only_models_that_see_are_asked_about_new_pictures() {
    let candidate = |name: &str, takes_images: bool| {
        let provided = Provided::of(std::sync::Arc::new(Never));
        let profile = Profile { takes_images, ..Profile::default() };
        let provided = Provided { profiles: crate::config::Profiles::all(profile), ..provided };
        Candidate { name: name.parse().expect("a name"), provided, is_configured: true }
    };
    let asked = |models: &[(&str, bool)], urls: &[&str]| {
        let candidates = models.iter().map(|(name, takes_images)| candidate(name, *takes_images)).collect();
        let seeing = seeing(candidates, &[said(Role::User, urls, "input")]);
        let names = |seeing: Vec<Candidate>| seeing.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
        seeing.map(names).map_err(|error| error.to_string())
    };
    let models = [("a/m", false), ("b/m", true), ("c/m", false)];
    assert_eq!(asked(&models, &[]).expect("are asked"), ["a/m", "b/m", "c/m"]);
    assert_eq!(asked(&models, &["data:,"]).expect("is asked"), ["b/m"]);
    let refused = asked(&models[..1], &["data:,"]).expect_err("sees nothing");
    let setting = "models.providers.<id>.models[].input";
    assert_eq!(refused, format!("invalid `input[0]`: the model `a/m` takes no images (`{setting}`)"));
    let refused = asked(&[models[0], models[2]], &["data:,"]).expect_err("see nothing");
    assert_eq!(refused, format!("invalid `input[0]`: none of the models `a/m`, `c/m` takes images (`{setting}`)"));
}

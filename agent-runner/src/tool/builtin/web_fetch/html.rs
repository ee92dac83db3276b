//! The text of an HTML page. It is made from the tokens as they come, not from a tree, so that its cost grows with the
//! page's length, however deeply the page is nested.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use html5ever::{
    LocalName, TokenizerResult,
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
    },
};
use reqwest::Url;

use super::Page;

const MAX_TITLE_CHARS: usize = 300;
const MAX_LINK_BYTES: usize = 500;

/// The tokenizer compares each attribute of a tag with all before it, so there are pages that would take minutes.
const MAX_TIME: Duration = Duration::from_secs(5);
/// After so much the time is looked at.
const PIECE_BYTES: usize = 16 * 1024;

/// Reads a page. `max_chars` is about where the text may end; it is not shorter if there is more.
pub(super) fn read(html: &str, url: &Url, max_chars: usize) -> Page {
    read_within(MAX_TIME, html, url, max_chars)
}

fn read_within(max_time: Duration, html: &str, url: &Url, max_chars: usize) -> Page {
    let writer = RefCell::new(Writer { max_chars, ..Writer::default() });
    let tokenizer = Tokenizer::new(Sink { writer, url: url.clone() }, TokenizerOpts::default());
    let input = BufferQueue::default();
    let (begin, mut rest) = (Instant::now(), html);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        rest = after;
        input.push_back(StrTendril::from_slice(piece));
        // The tokenizer stops where a browser would do something before it goes on.
        while let TokenizerResult::Script(()) | TokenizerResult::EncodingIndicator(_) = tokenizer.feed(&input) {}
        if begin.elapsed() >= max_time {
            break;
        }
    }
    tokenizer.end();
    let Writer { title, text, .. } = tokenizer.sink.writer.into_inner();
    let mut text = text.trim_end().to_owned();
    if !rest.is_empty() {
        text.push_str("\n[the page is too intricate to be read to its end]");
    }
    let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_TITLE_CHARS).collect();
    Page { title: (!title.is_empty()).then_some(title), text }
}

struct Sink {
    writer: RefCell<Writer>,
    url: Url,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut writer = self.writer.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return writer.open(&tag),
            Token::TagToken(tag) => writer.close(&tag.name, &self.url),
            Token::CharacterTokens(text) => writer.characters(&text),
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

/// What must come before the next character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Break {
    #[default]
    None,
    Space,
    Line,
    Paragraph,
}

/// The text so far.
#[derive(Default)]
struct Writer {
    text: String,
    chars: usize,
    max_chars: usize,
    title: String,
    pending: Break,
    /// What the next text begins with, such as the dash of a list.
    mark: &'static str,
    /// The element whose content is left out, up to its end.
    skipped: Option<LocalName>,
    is_in_title: bool,
    preformatted: usize,
    /// Where the link that is open leads to, and where its text begins.
    link: Option<(String, usize)>,
}

impl Writer {
    fn open(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        match name {
            "title" => self.is_in_title = self.skipped.is_none() && self.title.is_empty(),
            "script" | "style" | "textarea" | "iframe" | "noembed" | "noframes" | "xmp" | "svg" | "template"
            | "select"
                if !tag.self_closing || !matches!(name, "svg") =>
            {
                self.skipped.get_or_insert_with(|| tag.name.clone());
            }
            "pre" => self.preformatted += 1,
            "a" => {
                let target = tag.attrs.iter().find(|attribute| &*attribute.name.local == "href");
                self.link = target.map(|target| (target.value.to_string(), self.text.len()));
            }
            _ => {}
        }
        self.pending = self.pending.max(break_at(name));
        self.mark = match name {
            "li" => "- ",
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => heading(name),
            "td" | "th" if self.pending < Break::Line && !self.text.ends_with('\n') => "| ",
            _ => self.mark,
        };
        match name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            "plaintext" => TokenSinkResult::Plaintext,
            _ => TokenSinkResult::Continue,
        }
    }

    fn close(&mut self, name: &LocalName, url: &Url) {
        if self.skipped.as_ref() == Some(name) {
            self.skipped = None;
        }
        let name: &str = name;
        match name {
            "title" => self.is_in_title = false,
            "pre" => self.preformatted = self.preformatted.saturating_sub(1),
            "a" => self.end_link(url),
            _ => {}
        }
        self.pending = self.pending.max(break_at(name));
    }

    /// A link that has a text is followed by where it leads.
    fn end_link(&mut self, url: &Url) {
        let Some((target, start)) = self.link.take() else { return };
        let is_elsewhere = !target.trim_start().starts_with('#') && target.len() <= MAX_LINK_BYTES;
        if self.text.len() == start || !is_elsewhere {
            return;
        }
        if let Some(target) = url.join(&target).ok().filter(|target| matches!(target.scheme(), "http" | "https")) {
            self.push(" <");
            self.push(target.as_str());
            self.push(">");
        }
    }

    fn characters(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        if self.is_in_title {
            self.title.push_str(text);
            return;
        }
        for character in text.chars() {
            if self.chars > self.max_chars {
                return;
            }
            if character.is_whitespace() && self.preformatted == 0 {
                self.pending = self.pending.max(Break::Space);
                continue;
            }
            if self.preformatted == 0 || !character.is_whitespace() || self.pending == Break::None {
                self.begin();
            }
            self.text.push(character);
            self.chars += 1;
        }
    }

    /// Writes what must come first.
    fn begin(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let is_fresh = self.text.is_empty() || self.text.ends_with('\n');
        match pending {
            Break::Space if !is_fresh => self.push(" "),
            Break::Line if !is_fresh => self.push("\n"),
            Break::Paragraph if !self.text.is_empty() && !self.text.ends_with("\n\n") => {
                self.push(if is_fresh { "\n" } else { "\n\n" });
            }
            Break::None | Break::Space | Break::Line | Break::Paragraph => {}
        }
        let mark = std::mem::take(&mut self.mark);
        self.push(mark);
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.chars += text.chars().count();
    }
}

fn heading(name: &str) -> &'static str {
    let level = name.bytes().last().map_or(1, |digit| usize::from(digit.saturating_sub(b'0')));
    ["# ", "## ", "### ", "#### ", "##### ", "###### "][level.clamp(1, 6) - 1]
}

/// How an element is set off from what stands before and after it.
fn break_at(name: &str) -> Break {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "table" | "pre" | "blockquote"
        | "section" | "article" | "header" | "footer" | "main" | "nav" | "aside" | "form" | "hr" => Break::Paragraph,
        "div" | "br" | "li" | "tr" | "dt" | "dd" | "figure" | "figcaption" | "address" | "fieldset" | "option"
        | "body" | "head" => Break::Line,
        "td" | "th" => Break::Space,
        _ => Break::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> Page {
        read(html, &"https://example.com/a/b".parse().expect("is a URL"), 10_000)
    }

    #[test]
    fn a_page_becomes_readable_text() {
        let page = text(
            "<!doctype html><html><head><title>The &amp; title</title><style>p { x }</style></head><body>\
             <script>if (a < b) { document.write('<p>no</p>') }</script><h2>Tea</h2>\n<p>Green  <b>or</b>\n black&nbsp;tea. \
             <a href='../c?d'>More</a> <a href='#e'>here</a></p><ul><li>one<li><p>two</p></ul>\
             <table><tr><td>a</td><td>b</td></tr></table><pre>x\n  y</pre>end<svg><text>no</text></svg></body></html>",
        );
        assert_eq!(page.title.as_deref(), Some("The & title"));
        let expected = "## Tea\n\nGreen or black tea. More <https://example.com/c?d> here\n\n- one\n\n- two\n\n\
                        a | b\n\nx\n  y\n\nend";
        assert_eq!(page.text, expected);
    }

    #[test]
    fn a_page_of_nothing_but_tags_is_read_in_time_that_grows_with_its_length() {
        // With a tree, each tag would look through all that are open.
        let page = text(&"<a><p><b><table>".repeat(20_000));
        assert_eq!((page.title, page.text.as_str()), (None, ""));
    }

    #[test]
    fn reading_ends_where_the_text_or_the_time_does() {
        let url = "https://example.com".parse().expect("is a URL");
        let page = read_within(Duration::ZERO, &"é ".repeat(PIECE_BYTES), &url, usize::MAX);
        assert!(page.text.ends_with("é\n[the page is too intricate to be read to its end]"));
        assert!(page.text.len() <= PIECE_BYTES + 100, "{}", page.text.len());
        let endless = read(&"word ".repeat(100_000), &"https://example.com".parse().expect("is a URL"), 100);
        assert!((100..120).contains(&endless.text.chars().count()));
    }
}

//! The types that pictures may have, told by how their files begin.

use serde::Deserialize;

/// A type of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum MediaType {
    #[serde(rename = "image/jpeg")]
    Jpeg,
    #[serde(rename = "image/png")]
    Png,
    #[serde(rename = "image/gif")]
    Gif,
    #[serde(rename = "image/webp")]
    Webp,
    #[serde(rename = "image/heic")]
    Heic,
    #[serde(rename = "image/heif")]
    Heif,
}

impl MediaType {
    pub(super) const ALL: [Self; 6] = [Self::Jpeg, Self::Png, Self::Gif, Self::Webp, Self::Heic, Self::Heif];

    /// As IANA has registered it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Heic => "image/heic",
            Self::Heif => "image/heif",
        }
    }

    /// The type of a file, by its first bytes (WHATWG MIME Sniffing, 6.1; ISO/IEC 23008-12, 10.2 for the last two).
    pub(super) fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.first_chunk()? {
                b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Some(Self::Heic),
                b"mif1" | b"msf1" => Some(Self::Heif),
                [_, _, _, _] => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_it_begins_with() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(MediaType::sniff(bytes).map(MediaType::name), expected, "{bytes:?}");
        };
        check(b"\xff\xd8\xff\xe0", Some("image/jpeg"));
        check(b"\x89PNG\r\n\x1a\n", Some("image/png"));
        check(b"GIF87a", Some("image/gif"));
        check(b"GIF89a,", Some("image/gif"));
        check(b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp"));
        check(b"\0\0\0\x18ftypheic", Some("image/heic"));
        check(b"\0\0\0\x18ftypmif1", Some("image/heif"));
        check(b"\0\0\0\x18ftypmp42", None);
        check(b"\0\0\0\x18ftyp", None);
        check(b"RIFF\x10\0\0\0WAVE", None);
        check(b"<svg xmlns='http://www.w3.org/2000/svg'/>", None);
        check(b"%PDF-1.7", None);
        check(b"", None);
    }

    #[test]
    fn the_names_are_those_of_the_configuration() {
        for media_type in MediaType::ALL {
            let read: MediaType = serde_json::from_value(media_type.name().into()).expect("is a name");
            assert_eq!(read, media_type);
        }
    }
}

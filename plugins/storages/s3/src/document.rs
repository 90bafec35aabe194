//! Answers of the service as a tree of elements, and the few documents that it is sent.
//!
//! The answers are XML from a foreign machine: their length, depth and number of elements have ceilings.

use freezer_sdk::error::{Error, Result};
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, Event};

/// Longest answer: a page of 1000 keys of 1024 bytes, each of them written as `%XX`, and what stands around them.
pub(crate) const ANSWER_BYTES: usize = 8 << 20;
/// Most elements: a page has 1000 entries of about ten. Keeps a hostile answer within the plugin's memory.
const ELEMENTS: usize = 50_000;
/// Deepest element; answers have five levels.
const DEPTH: usize = 16;

/// An element with what is in it, without attributes and namespaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// Its own text, in one piece.
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// `corrupt` if it is none, or one that no service would send.
    pub(crate) fn parse(content: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(content).map_err(|_| senseless("it isn't UTF-8"))?;
        let mut reader = Reader::from_str(text);
        // The elements that are open; the first one holds the document.
        let mut open = vec![Element::default()];
        let mut elements = 0;
        loop {
            let event = reader
                .read_event()
                .map_err(|error| senseless(&error.to_string()))?;
            let Some(current) = open.last_mut() else {
                return Err(senseless("an element ends that never began"));
            };
            match event {
                Event::Start(start) => {
                    elements += 1;
                    if elements > ELEMENTS || open.len() > DEPTH {
                        return Err(senseless("it has too many elements"));
                    }
                    let name = start.local_name().as_ref().to_owned();
                    open.push(Element {
                        name,
                        ..Element::default()
                    });
                }
                Event::Empty(start) => {
                    elements += 1;
                    if elements > ELEMENTS {
                        return Err(senseless("it has too many elements"));
                    }
                    let name = start.local_name().as_ref().to_owned();
                    current.children.push(Element {
                        name,
                        ..Element::default()
                    });
                }
                Event::End(_) => close(&mut open)?,
                Event::Text(text) => current.text.push_str(&text.xml10_content()),
                Event::CData(text) => current.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => current.text.push(character(&reference)?),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
                Event::Eof => break,
            }
        }
        let root = open
            .pop()
            .filter(|_| open.is_empty())
            .and_then(|mut document| document.children.pop());
        root.ok_or_else(|| senseless("it breaks off"))
    }

    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub(crate) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of that name; "" without one.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }

    /// As [`Element::text`], with its spaces: keys may have some.
    pub(crate) fn exact_text(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }
}

/// Puts the innermost open element into the one around it.
fn close(open: &mut Vec<Element>) -> Result<()> {
    let closed = open.pop();
    match (closed, open.last_mut()) {
        (Some(closed), Some(parent)) => {
            parent.children.push(closed);
            Ok(())
        }
        _ => Err(senseless("an element ends that never began")),
    }
}

/// `&amp;` and the like.
fn character(reference: &BytesRef<'_>) -> Result<char> {
    let named = match reference.as_ref() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok().flatten(),
    };
    named.ok_or_else(|| senseless("it has an unknown reference"))
}

fn senseless(why: &str) -> Error {
    let why: String = why.chars().take(100).collect();
    Error::corrupt(format!("the service's answer makes no sense: {why}"))
}

/// The parts of an object in their order; their numbers count from 1.
pub(crate) fn complete_upload<'a>(etags: impl Iterator<Item = &'a str>) -> String {
    let mut document = String::from("<CompleteMultipartUpload>");
    for (position, etag) in etags.enumerate() {
        let number = position + 1;
        let etag = escape(etag);
        document.push_str(&format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        ));
    }
    document.push_str("</CompleteMultipartUpload>");
    document
}

/// Keys (as in the bucket) to remove at once. Only what couldn't be removed is to be told.
pub(crate) fn delete_objects(keys: &[String]) -> String {
    let mut document = String::from("<Delete><Quiet>true</Quiet>");
    for key in keys {
        document.push_str(&format!("<Object><Key>{}</Key></Object>", escape(key.as_str())));
    }
    document.push_str("</Delete>");
    document
}

/// Where a bucket is made. Amazon's first region must not be named.
pub(crate) fn create_bucket(region: &str) -> String {
    match region {
        "us-east-1" => String::new(),
        region => format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::error::ErrorKind;

    #[test]
    fn a_document_is_read_with_its_references() {
        let text = "<?xml version=\"1.0\"?>\n<L xmlns=\"http://x/\"><K> a&amp;b&#x2F;c </K><E/>\
                    <P><K>1</K></P><P><K>2</K></P><T>\n x \n</T></L>";
        let document = Element::parse(text.as_bytes()).unwrap();
        assert_eq!(document.name, "L");
        assert_eq!(document.exact_text("K"), " a&b/c ");
        assert_eq!(document.text("T"), "x");
        assert_eq!(document.text("E"), "");
        let keys: Vec<&str> = document.children("P").map(|child| child.text("K")).collect();
        assert_eq!(keys, ["1", "2"]);
    }

    #[test]
    fn hostile_documents_are_refused_without_harm() {
        let deep = "<a>".repeat(100_000);
        let wide = format!("<a>{}</a>", "<b/>".repeat(100_000));
        for text in [
            "",
            "nonsense",
            "<a>",
            "</a>",
            "<a></b>",
            "<a>&boom;</a>",
            "<a>&#xFFFFFFFF;</a>",
            &deep,
            &wide,
        ] {
            let error = Element::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Corrupt);
            assert!(error.message.len() < 200, "{error}");
        }
        assert_eq!(
            Element::parse(b"<a>\xff</a>").unwrap_err().kind,
            ErrorKind::Corrupt
        );
    }

    #[test]
    fn keys_cannot_break_out_of_a_document() {
        let document = delete_objects(&["a</Key></Object><Object><Key>b".to_owned()]);
        let read = Element::parse(document.as_bytes()).unwrap();
        let keys: Vec<&str> = read
            .children("Object")
            .map(|object| object.exact_text("Key"))
            .collect();
        assert_eq!(keys, ["a</Key></Object><Object><Key>b"]);
    }
}

//! Decompresses a whole stream front to back, whoever wrote it: members, streams and frames may follow each other.
//!
//! Used where there is no index. The compression is told by the first bytes where it isn't known; what is neither
//! compressed nor a tar archive is refused; whoever has a password takes it for the result of a wrong one.

use std::io::{self, BufReader, Read};

use freezer_format::compression::Compression;
use xz2::stream::{CONCATENATED, Stream};

/// Buffer in front of the codecs.
const BUFFER_BYTES: usize = 128 * 1024;
/// Most memory of an xz decoder: `xz -9` asks for 65 MiB.
const XZ_MEMORY_BYTES: u64 = 80 << 20;
/// Largest zstd window, as a power of two: what plain `zstd -d` accepts (128 MiB).
const ZSTD_WINDOW_LOG: u32 = 27;
/// Where `ustar` stands in a tar header, for streams that aren't compressed.
const USTAR_AT: usize = 257;

/// The decompressed stream.
pub(crate) type ArchiveStream = Box<dyn Read + Send>;

/// Why a stream can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The stream below failed.
    #[error("can't read the beginning of the stream")]
    Read(#[source] io::Error),
    /// The stream isn't what it is said to be.
    #[error("it should be {expected}, and isn't")]
    Unrecognised {
        /// What it should be.
        expected: String,
    },
    /// The codec can't be set up.
    #[error("can't set up the decompression")]
    Codec(#[source] io::Error),
}

/// Opens a stream for reading what was compressed into it.
///
/// # Errors
/// The stream's first bytes can't be read, or aren't those of `compression` (of any known one, if `None`).
pub(crate) fn open_stream(
    inner: impl Read + Send + 'static,
    compression: Option<Compression>,
) -> Result<ArchiveStream, StreamError> {
    let (start, inner) = peek(inner).map_err(StreamError::Read)?;
    let found = Compression::detect(&start).or_else(|| looks_like_tar(&start).then_some(Compression::None));
    let compression = match (compression, found) {
        (None, Some(found)) => found,
        (Some(wanted), Some(found)) if wanted == found => found,
        (wanted, _) => {
            let expected = match wanted {
                Some(Compression::None) => "a tar archive".to_owned(),
                None => "a tar archive, compressed or not".to_owned(),
                Some(wanted) => format!("compressed by {wanted}"),
            };
            return Err(StreamError::Unrecognised { expected });
        }
    };
    let inner = BufReader::with_capacity(BUFFER_BYTES, inner);
    Ok(match compression {
        Compression::None => Box::new(inner),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(inner)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(inner)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED)
                .map_err(|error| StreamError::Codec(error.into()))?;
            Box::new(xz2::bufread::XzDecoder::new_stream(inner, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(inner).map_err(StreamError::Codec)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(StreamError::Codec)?;
            Box::new(decoder)
        }
    })
}

/// Reads as much of one tar block as there is, and puts it back in front.
fn peek<R: Read>(mut inner: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut start = Vec::with_capacity(512);
    inner.by_ref().take(512).read_to_end(&mut start)?;
    let front = io::Cursor::new(start.clone());
    Ok((start, front.chain(inner)))
}

fn looks_like_tar(start: &[u8]) -> bool {
    start.get(USTAR_AT..USTAR_AT + 5) == Some(b"ustar")
        || (start.len() == 512 && start.iter().all(|b| *b == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::process::{Command, Stdio};

    fn run(program: &str, content: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut child = Command::new(program)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let content = content.to_vec();
        let feeder = std::thread::spawn(move || input.write_all(&content));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap().unwrap();
        output.stdout
    }

    #[rstest]
    fn streams_of_other_programs_are_read_one_behind_the_other(
        #[values(Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd)]
        compression: Compression,
        #[values(true, false)] told: bool,
    ) {
        let content: Vec<u8> = (0..300_000u32).map(|i| ((i * i) >> 7) as u8).collect();
        let mut stored = run(compression.name(), &content);
        stored.extend(run(compression.name(), b"second"));
        let mut read = Vec::new();
        let told = told.then_some(compression);
        open_stream(io::Cursor::new(stored), told)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(read[..300_000] == content && &read[300_000..] == b"second");
    }

    #[rstest]
    fn a_cut_stream_is_an_error(
        #[values(Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd)]
        compression: Compression,
    ) {
        let content: Vec<u8> = (0..300_000u32).map(|i| ((i * i) >> 7) as u8).collect();
        let mut stored = run(compression.name(), &content);
        stored.truncate(stored.len() - 3);
        let mut read = Vec::new();
        assert!(
            open_stream(io::Cursor::new(stored), None)
                .unwrap()
                .read_to_end(&mut read)
                .is_err()
        );
    }

    #[rstest]
    #[case(None, "a tar archive, compressed or not")]
    #[case(Some(Compression::Gzip), "compressed by gzip")]
    #[case(Some(Compression::None), "a tar archive")]
    fn noise_is_not_what_it_should_be(#[case] told: Option<Compression>, #[case] what: &str) {
        let noise: Vec<u8> = (0..4096u32).map(|i| ((i * 7919) >> 3) as u8).collect();
        let error = open_stream(io::Cursor::new(noise), told).err().unwrap();
        assert!(matches!(error, StreamError::Unrecognised { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("it should be {what}, and isn't"));
    }

    #[test]
    fn an_archive_that_is_not_compressed_is_known_by_its_header() {
        let mut block = vec![0u8; 1024];
        block[257..262].copy_from_slice(b"ustar");
        let mut read = Vec::new();
        open_stream(io::Cursor::new(block.clone()), None)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, block);
    }

    #[test]
    fn what_is_wrong_with_a_stream_is_said() {
        let io = || io::Error::other("no");
        assert_eq!(
            StreamError::Read(io()).to_string(),
            "can't read the beginning of the stream"
        );
        assert_eq!(
            StreamError::Codec(io()).to_string(),
            "can't set up the decompression"
        );
    }
}

//! Measures the index: `index-speed [ENTRIES]` writes and reads that many rows in memory and prints milliseconds.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use freezer_format::compression::Compression;
use freezer_format::index::{
    Entry, EntryBlocks, EntryKind, Finished, Header, IndexError, IndexReader, IndexWriter, LevelRow, State,
};
use freezer_format::name::Timestamp;
use freezer_format::time::Time;

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(50_000), |text| text.parse())?;
    let rows: Vec<_> = (0..count).map(row).collect();
    let mut out = std::io::stdout();

    let start = Instant::now();
    let finished = write(&rows)?;
    writeln!(
        out,
        "write            {:>8.1} ms, {:.1} bytes a row",
        milliseconds(start),
        finished.body_bytes as f64 / count as f64
    )?;

    let start = Instant::now();
    let reader = IndexReader::open(finished.inner, finished.body_bytes, Some(&finished.trailer))?;
    let mut stream = reader.rows()?;
    let mut changed = 0u64;
    while stream.advance()? {
        changed += u64::from(stream.state().racy);
    }
    writeln!(
        out,
        "read rows        {:>8.1} ms, {changed} racy",
        milliseconds(start)
    )?;

    let start = Instant::now();
    let mut stream = reader.entries()?;
    let mut bytes = 0u64;
    while stream.advance()? {
        bytes += stream.entry().size;
    }
    writeln!(
        out,
        "read entries     {:>8.1} ms, {bytes} bytes",
        milliseconds(start)
    )?;

    let start = Instant::now();
    let mut backwards = 0;
    for entry in reader.entries_reversed()? {
        backwards += u64::from(entry?.mode & 1);
    }
    writeln!(
        out,
        "read backwards   {:>8.1} ms, {backwards} executable",
        milliseconds(start)
    )?;

    let start = Instant::now();
    let path = &rows[rows.len() / 2].0.path;
    let found = reader.find(path)?.is_some();
    writeln!(out, "find one path    {:>8.1} ms, {found}", milliseconds(start))?;
    Ok(())
}

/// Writes an index of all rows into memory.
fn write(rows: &[(Entry, State)]) -> Result<Finished<Vec<u8>>, IndexError> {
    let header = Header {
        flags: 0,
        frame_size: 1 << 20,
        segment_size: 32 << 20,
    };
    let mut writer = IndexWriter::new(Vec::new(), &header)?;
    let mut blocks = EntryBlocks::new();
    for (entry, state) in rows {
        if let Some((entries, states)) = blocks.push(entry, state)? {
            writer.write(entries)?;
            writer.write(states)?;
        }
    }
    if let Some((entries, states)) = blocks.flush() {
        writer.write(entries)?;
        writer.write(states)?;
    }
    let level = LevelRow {
        level: 0,
        time: Timestamp(1_700_000_000),
        manifest_sha256: [0; 32],
        frame_size: 1 << 20,
        compression: Compression::Gzip,
    };
    writer.finish(&[level])
}

/// Makes a row of a plausible tree: random inodes and times, as after years of use.
fn row(number: u64) -> (Entry, State) {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let path = format!(
        "usr/share/package-{:05}/locale/file-{:03}.conf",
        number / 60,
        number % 60
    );
    let mtime = Time {
        seconds: 1_600_000_000 + (random % 100_000_000) as i64,
        nanoseconds: (random % 1_000_000_000) as u32,
    };
    let entry = Entry {
        level: (number % 3) as u32,
        offset: number * 16_384,
        size: random % 100_000,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        mtime,
        ..Entry::new(path, EntryKind::File)
    };
    (
        entry,
        State {
            inode: random % 10_000_000,
            ctime: mtime,
            nlink: 1,
            racy: false,
        },
    )
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

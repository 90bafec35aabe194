//! Limits that all transfers share.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use freezer_io::http::Content;
use freezer_io::limiter::{Bandwidth, Throttle};
use freezer_io::stop::Stop;

use crate::server::{Server, Tester, Then, request};

const RATE: u64 = 4 << 20;
const MEASURED: Duration = Duration::from_secs(3);

#[test]
fn parallel_uploads_share_the_limit() {
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    let server = Server::start(move |_, stream| {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = stream.get_mut().read(&mut buffer)?;
            if count == 0 {
                return Ok(Then::Close);
            }
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    });
    let tester = Arc::new(Tester::limited(Bandwidth {
        upload: Throttle::new(Some(RATE)),
        ..Bandwidth::default()
    }));
    let started = Instant::now();
    let over = Stop::when(move || started.elapsed() > MEASURED);
    let content = Arc::new(vec![7; 64 << 20]);
    let uploads = (0..4).map(|_| {
        let (tester, over) = (Arc::clone(&tester), over.clone());
        let (request, content) = (
            request("PUT", &server.url("/")),
            Content::Bytes(Arc::clone(&content)),
        );
        std::thread::spawn(move || {
            tester
                .runtime
                .block_on(tester.client.send(request, Some(content), &over))
                .is_err()
        })
    });
    let uploads: Vec<_> = uploads.collect();
    assert!(
        uploads.into_iter().all(|upload| upload.join().unwrap()),
        "each is stopped at the end"
    );
    let ratio = arrived.load(Ordering::Relaxed) as f64 / (RATE as f64 * started.elapsed().as_secs_f64());
    assert!((0.5..1.1).contains(&ratio), "{ratio}");
}

#[test]
fn parallel_downloads_share_the_limit() {
    let server = Server::start(|_, stream| {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        loop {
            stream.get_mut().write_all(&[7; 64 << 10])?;
        }
    });
    let tester = Arc::new(Tester::limited(Bandwidth {
        download: Throttle::new(Some(RATE)),
        ..Bandwidth::default()
    }));
    let started = Instant::now();
    let downloads = (0..4).map(|_| {
        let (tester, request) = (Arc::clone(&tester), request("GET", &server.url("/")));
        std::thread::spawn(move || {
            let mut answer = tester.send(request, None).unwrap();
            let (mut buffer, mut sum) = (vec![0; 64 << 10], 0);
            while started.elapsed() < MEASURED {
                sum += answer.content.read(&mut buffer).unwrap() as u64;
            }
            sum
        })
    });
    let downloads: Vec<_> = downloads.collect();
    let sum: u64 = downloads
        .into_iter()
        .map(|download| download.join().unwrap())
        .sum();
    let ratio = sum as f64 / (RATE as f64 * started.elapsed().as_secs_f64());
    assert!((0.5..1.2).contains(&ratio), "{ratio}");
}
